"""One way to use every object of V, whatever is behind its name: query, read, write, release.

    uniform.py PATH...        what each can do (user.v.attributes), and whether it does just that

A line for each path; the exit status is 0 if every object behaves as its attributes say.
"""
import errno
import os
import stat
import sys


def attempt(body):
    """The value of body, or the name of the error."""
    try:
        return body(), None
    except OSError as error:
        return None, errno.errorcode[error.errno]


def attributes(path):
    return set(os.getxattr(path, "user.v.attributes").decode().split())


def check(path):
    words = attributes(path)
    status = os.stat(path)
    faults = []

    def expect(what, is_so):
        if not is_so:
            faults.append(what)

    if stat.S_ISDIR(status.st_mode):
        names, error = attempt(lambda: sorted(os.listdir(path)))
        expect(f"READABLE, but listing it is {error}", error is None)
        expect("its names are not those of the second reading", names == sorted(os.listdir(path)))
        _, error = attempt(lambda: os.open(path, os.O_WRONLY))
        expect(f"writing a context is {error}", error == "EISDIR")
        return words, f"{len(names or [])} names", faults

    for word, flag in (("READABLE", os.O_RDONLY), ("WRITEABLE", os.O_WRONLY)):
        descriptor, error = attempt(lambda: os.open(path, flag | os.O_NONBLOCK))
        # A pipe without its other end, and a program's end of one, say so; they do not refuse.
        may = error is None or error in ("ENXIO", "EAGAIN")
        expect(f"{word} is {word in words}, opening says {error}", may == (word in words))
        if descriptor is not None:
            os.close(descriptor)

    did = []
    if "READABLE" in words:
        flag = os.O_RDWR if "STREAM" in words and "WRITEABLE" in words else os.O_RDONLY
        file = os.open(path, flag)
        if flag == os.O_RDWR and "STREAM" in words:
            written = os.write(file, b"one block\n")
            expect("a block is taken whole", written == 10)
        first, error = attempt(lambda: os.read(file, 100))
        expect(f"reading is {error}", error is None)
        did.append(f"read {len(first or b'')}")
        if flag == os.O_RDWR and "STREAM" in words:
            expect("a block comes back whole and alone", len(first or b"") > 0)
        _, error = attempt(lambda: os.lseek(file, 0, os.SEEK_SET))
        expect(f"RANDOM_ACCESS, but a position is {error}",
               (error is None) == ("RANDOM_ACCESS" in words and "STREAM" not in words))
        if "STREAM" in words:
            expect(f"STREAM, but a position is {error}", error == "ESPIPE")
        if "STORAGE" in words:
            expect("STORAGE reads the same twice", os.pread(file, 100, 0) == first)
        if "FIXED_LENGTH" in words:
            size = os.fstat(file).st_size
            expect("FIXED_LENGTH ends at its size", os.pread(file, 100, size) == b"")
            expect("FIXED_LENGTH has its size", len(os.pread(file, size + 100, 0)) == size)
        os.close(file)
        expect("a released instance is gone", attempt(lambda: os.read(file, 1))[1] == "EBADF")
    if "WRITEABLE" in words and "STORAGE" in words:
        file = os.open(path, os.O_RDWR)
        before = os.pread(file, 5, 0)
        expect("what is written is read", os.pwrite(file, before, 0) == len(before)
               and os.pread(file, 5, 0) == before)
        os.close(file)
        did.append("wrote")
    return words, ", ".join(did), faults


def main():
    is_good = True
    for path in sys.argv[1:]:
        words, did, faults = check(path)
        print(f"{path}: {' '.join(sorted(words))}: {did}")
        for fault in faults:
            print(f"  {fault}")
            is_good = False
    sys.exit(not is_good)


main()
