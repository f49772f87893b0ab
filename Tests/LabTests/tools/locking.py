"""Locks of every kind on a file: locking.py FILE VERB ARGUMENTS

  hold KIND           takes a lock, says "held", and lets go when its input ends
  try KIND            says "got" or the name of the error
  wait KIND [linger]  waits for it, then says "got"; with linger it says "asks" before that, and
                      keeps the file open till its input ends
  count N             adds one to the number in the file N times, each under a lock
  circle FIRST SECOND locks one octet, says "held", waits for a line, then waits for the other
  write               holds a lock, says "held", writes after a line of input, and says how that went

KIND is posix, ofd or flock.
"""

import errno
import fcntl
import os
import struct
import sys

F_OFD_SETLK, F_OFD_SETLKW = 37, 38


def say(text):
    print(text, flush=True)


def lock(fd, kind, waits, start=0, count=0):
    if kind == "flock":
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    elif kind == "posix":
        fcntl.lockf(fd, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB), count, start)
    else:
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, start, count, 0)
        fcntl.fcntl(fd, F_OFD_SETLKW if waits else F_OFD_SETLK, wanted)


def attempt(*arguments):
    try:
        lock(*arguments)
        say("got")
    except OSError as error:
        say(errno.errorcode[error.errno])


path, verb, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
if verb == "hold":
    lock(fd, arguments[0], True)
    say("held")
    sys.stdin.read()
elif verb == "try":
    attempt(fd, arguments[0], False)
elif verb == "wait":
    if "linger" in arguments:
        say("asks")
    attempt(fd, arguments[0], True)
    if "linger" in arguments:
        sys.stdin.read()
elif verb == "count":
    for _ in range(int(arguments[0])):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        number = int(os.pread(fd, 20, 0) or b"0")
        os.pwrite(fd, b"%d" % (number + 1), 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)
elif verb == "circle":
    lock(fd, "posix", True, int(arguments[0]), 1)
    say("held")
    sys.stdin.readline()
    attempt(fd, "posix", True, int(arguments[1]), 1)
elif verb == "write":
    lock(fd, "posix", True)
    say("held")
    for line in sys.stdin:
        try:
            os.pwrite(fd, line.encode(), 0)
            say("written")
        except OSError as error:
            say(errno.errorcode[error.errno])
