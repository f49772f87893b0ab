import Foundation
import Testing

extension LabTests {
  @Suite("v run on a terminal", .tags(.mount), .serialized)
  struct TerminalTests {
    /// Runs a script of Python with `Session`, a program on a terminal.
    private func onTerminal(_ script: String, limit: Duration = .seconds(30)) async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.run(
        on: "kea",
        [
          "env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=\(Lab.tools)", "python3", "-c",
          "from terminal import *\n" + script,
        ], limit: limit)
      expectSuccess(outcome)
    }

    @Test("a shell of another host has its prompt, job control, size and status")
    func shell() async throws {
      try await onTerminal(
        #"""
        s = Session("v", "run", "--host", "moa", "bash", "--norc", rows=30, columns=90)
        s.expect(r"# ")
        assert s.is_raw()
        s.send("hostname; stty size; echo $TERM\r")
        s.expect(r"\rmoa\r\n30 90\r\nxterm\r\n")
        s.resize(40, 100)
        s.send("until stty size | grep 100; do :; done\r")
        s.expect(r"\r40 100\r\n")
        s.send("echo up; cat\r")
        s.expect(r"\rup\r\n")
        s.send("one\r")
        s.expect(r"one\r\none\r\n")
        s.send("\x1a")
        s.expect("Stopped")
        s.send("jobs; fg\r")
        s.expect(r"Stopped.*cat[\s\S]*\ncat\r\n")
        s.send("two\r")
        s.expect(r"two\r\ntwo\r\n")
        s.send("\x03")
        s.expect(r"# ")
        s.send("echo $?; exit 3\r")
        s.expect(r"\r130\r\n")
        assert s.status() == 3
        """#)
    }

    @Test("vim edits a file there, less shows one, python3 answers")
    func programs() async throws {
      let lab = try await Lab.shared()
      try await onTerminal(
        #"""
        s = Session("v", "run", "--host", "moa", "vim", "-u", "NONE", "/srv/storage/by-vim")
        s.expect("by-vim")
        # Control-O, because an escape that is followed at once by another key is something else.
        s.send("ihello from vim\x0f:wq\r")
        assert s.status() == 0
        s = Session("v", "run", "--host", "moa", "less", "/srv/storage/by-vim")
        s.expect("hello from vim")
        s.send("q")
        assert s.status() == 0
        s = Session("v", "run", "--host", "moa", "python3")
        s.expect(">>> ")
        s.send("6 * 7\r")
        s.expect(r"42\r\n")
        s.send("\x04")
        assert s.status() == 0
        """#)
      let text = try String(contentsOfFile: lab.disk("moa") + "/by-vim", encoding: .utf8)
      #expect(text == "hello from vim\n")
    }

    @Test("^Z gives the terminal back to the shell here, fg goes on; ^C ends it")
    func jobs() async throws {
      try await onTerminal(
        #"""
        import subprocess
        os.environ["PS1"] = "here> "
        s = Session("bash", "--norc", "-i")
        s.expect("here> ")
        s.send("v run --host moa sh -c 'echo up; exec cat'\r")
        s.expect(r"\rup\r\n")
        s.send("one\r")
        s.expect(r"one\r\none\r\n")
        s.send("\x1a")
        s.expect(r"Stopped[\s\S]*here> ")
        s.send("v ps moa\r")
        s.expect(r"stopped .*cat[\s\S]*here> ")
        s.send("fg\r")
        s.expect(r"\rv run .*\r\n")
        s.until(s.is_raw)
        s.send("two\r")
        s.expect(r"two\r\ntwo\r\n")
        s.send("\x03")
        s.expect("here> ")
        s.send("echo $?; v run --no-pty --host moa sleep 1093 </dev/null\r")
        s.expect(r"\r130\r\n")
        def runs():
            shown = subprocess.run(["v", "ps", "moa"], capture_output=True, text=True).stdout
            return re.search("running .*sleep 1093", shown)
        s.until(runs)
        s.send("\x1a")
        s.expect(r"Stopped[\s\S]*here> ")
        s.send("v ps moa\r")
        s.expect(r"suspended .*sleep 1093[\s\S]*here> ")
        s.send("fg\r")
        s.until(runs)
        s.send("\x03")
        s.expect("here> ")
        s.send("exit\r")
        s.status()
        """#)
    }

    @Test("v attach finds a detached program's terminal again, and can leave it")
    func attach() async throws {
      try await onTerminal(
        #"""
        import subprocess
        name = subprocess.run(
            ["v", "run", "--host", "moa", "--detach", "--pty", "bash", "--norc"],
            capture_output=True, text=True, check=True).stdout.strip()
        s = Session("v", "attach", name)
        s.expect(r"# ")
        s.send("x=found\r")
        s.expect(r"# ")
        s.send("\x1c")
        s.expect("v: left " + name)
        assert s.status() == 0
        s = Session("v", "attach", name)
        s.expect(r"x=found[\s\S]*# ")
        s.send("echo $x again; exit 4\r")
        s.expect(r"\rfound again\r\n")
        assert s.status() == 4
        """#)
    }
  }
}
