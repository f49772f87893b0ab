"""Appends numbered lines to a file that another host appends to at the same time.

append.py FILE WRITER COUNT           writes COUNT lines, each by one write(2)
append.py FILE --check COUNT WRITER... says what is wrong with what the writers left
"""

import os
import sys
import time

# The faster host spreads its lines over this time, or the other would be alone for most of its own.
SECONDS = 1.5


def line(writer, number):
    # Most are short; now and then one takes several packets.
    length = 16000 if number % 1000 == 999 else number * 7 % 90
    return b"%s %d %s\n" % (writer.encode(), number, b"x" * length)


def append(path, writer, count):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0, began + SECONDS * number / count - time.monotonic()))
        data = line(writer, number)
        written = os.write(file, data)
        if written != len(data):
            sys.exit("line %d of %s: only %d octets written" % (number, writer, written))
    os.close(file)


def check(path, count, writers):
    next_number = dict.fromkeys(writers, 0)
    switches, last = 0, None
    with open(path, "rb") as file:
        for place, found in enumerate(file, 1):
            writer = found.split(b" ", 1)[0].decode(errors="replace")
            if writer not in next_number:
                sys.exit("line %d is of no writer: %r" % (place, found[:100]))
            if found != line(writer, next_number[writer]):
                sys.exit("line %d is not line %d of %s, whole: %r (%d octets)"
                         % (place, next_number[writer], writer, found[:100], len(found)))
            next_number[writer] += 1
            switches += writer != last
            last = writer
    if set(next_number.values()) != {count}:
        sys.exit("lines: %r" % next_number)
    if switches < 100:
        sys.exit("the writers met only %d times" % switches)
    print("%d lines, %d changes of writer" % (place, switches))


if sys.argv[2] == "--check":
    check(sys.argv[1], int(sys.argv[3]), sys.argv[4:])
else:
    append(sys.argv[1], sys.argv[2], int(sys.argv[3]))
