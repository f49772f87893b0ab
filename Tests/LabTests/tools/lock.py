"""Counts to a shared number under a lock file: lock.py DIRECTORY link|exclusive COUNT

Takes the lock COUNT times, as mail programs and git do, and adds one to a number in a file while
it holds it. Two holders at once would lose counts.
"""

import os
import sys

directory, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(directory)
own = "own-%s-%d" % (os.uname().nodename, os.getpid())


def take_by_link():
    # The link count tells, not the answer: that is the rule for network file systems.
    with open(own, "w") as file:
        file.write(own)
    try:
        os.link(own, "lock")
    except FileExistsError:
        pass
    taken = os.stat(own).st_nlink == 2
    os.unlink(own)
    return taken


def take_exclusively():
    try:
        os.close(os.open("lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return True
    except FileExistsError:
        return False


take = {"link": take_by_link, "exclusive": take_exclusively}[kind]
refusals = 0
for _ in range(count):
    while not take():
        refusals += 1
    with open("number") as file:
        number = int(file.read())
    with open("number", "w") as file:
        file.write("%d\n" % (number + 1))
    os.unlink("lock")
print(refusals)
