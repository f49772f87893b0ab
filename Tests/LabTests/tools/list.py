"""Lists a tree for comparison, read from the disk it is on: list.py DIRECTORY [SCRIPT]

One line a file: its path, type, mode, owner, group, size, date, links and content. Owners are by
name, as this host knows them. A date after 2020 was not copied from an input and reads "now".
The size of a directory says how a disk keeps it, and is left out. SCRIPT is a tool of the matrix;
the content of files that its "# Differs:" lines match is left out.
"""

import fnmatch
import grp
import hashlib
import os
import pwd
import stat
import sys
import time

KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "character", stat.S_IFBLK: "block",
}
COPIED_BEFORE = 1577836800
NOW = time.time()


def named(look_up, number):
    try:
        return look_up(number)[0]
    except KeyError:
        return "#%d" % number


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            total.update(data)
    return total.hexdigest()


def content(path, status):
    if stat.S_ISREG(status.st_mode):
        return digest(path)
    if stat.S_ISLNK(status.st_mode):
        return "-> " + ascii(os.readlink(path))
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return "device %d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
    return "-"


def walk(top):
    yield b"."
    pending = [b""]
    while pending:
        folder = pending.pop()
        for name in os.listdir(os.path.join(top, folder)):
            path = os.path.join(folder, name)
            yield path
            if stat.S_ISDIR(os.lstat(os.path.join(top, path)).st_mode):
                pending.append(path)


def main(top, script=None):
    exempt = []
    if script:
        with open(script, encoding="ascii") as lines:
            exempt = [l.split(":", 1)[1].split()[0] for l in lines if l.startswith("# Differs:")]
    links = {}
    for path in sorted(walk(os.fsencode(top))):
        full = os.path.join(os.fsencode(top), path)
        status = os.lstat(full)
        is_directory = stat.S_ISDIR(status.st_mode)
        first = links.setdefault((status.st_dev, status.st_ino), path)
        differs = any(fnmatch.fnmatch(os.fsdecode(path), pattern) for pattern in exempt)
        if status.st_mtime < COPIED_BEFORE:
            date = str(status.st_mtime_ns)
        else:
            date = "now" if status.st_mtime < NOW + 60 else "later"
        print("\t".join([
            ascii(os.fsdecode(path)),
            KINDS[stat.S_IFMT(status.st_mode)],
            "%04o" % stat.S_IMODE(status.st_mode),
            named(pwd.getpwuid, status.st_uid),
            named(grp.getgrgid, status.st_gid),
            "-" if is_directory or differs else str(status.st_size),
            date,
            "-" if is_directory else "%d %s" % (status.st_nlink, ascii(os.fsdecode(first))),
            "-" if differs else content(full, status),
        ]))


main(*sys.argv[1:])
