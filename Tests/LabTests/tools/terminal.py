"""A program on a terminal of its own, which gets keys and is asked what it shows."""
import fcntl, os, pty, re, select, struct, sys, termios, time


class Session:
    def __init__(self, *command, rows=24, columns=80):
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            self.terminal = 0
            self.resize(rows, columns)
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)

    def resize(self, rows, columns):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)

    def send(self, keys):
        os.write(self.terminal, keys.encode())

    def more(self, deadline):
        """Reads what comes; false at the end, or when it is too late."""
        left = max(0, deadline - time.monotonic())
        if not select.select([self.terminal], [], [], left)[0]:
            return False
        try:
            octets = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.seen += octets
        return octets != b""

    def expect(self, pattern, seconds=10):
        """Waits until it shows a pattern, and forgets everything up to there."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.search(pattern.encode(), self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            if not self.more(deadline):
                sys.exit(f"no {pattern!r} in {self.seen!r}")

    def until(self, condition, seconds=10):
        """Waits until something is so, and reads what is shown meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"not {condition.__name__}; it showed {self.seen!r}")
            self.more(time.monotonic() + 0.01)

    def is_raw(self):
        return not termios.tcgetattr(self.terminal)[3] & termios.ICANON

    def status(self, seconds=10):
        """Its exit status, or 128 and the signal."""
        deadline = time.monotonic() + seconds
        while self.more(deadline):
            pass
        left = max(0, deadline - time.monotonic())
        if not select.select([os.pidfd_open(self.pid)], [], [], left)[0]:
            sys.exit(f"it does not end; it showed {self.seen!r}")
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code if code >= 0 else 128 - code
