"""poll(2), select(2) and epoll(7) of streams of V: prints what they say, one line a step.

Usage: poll.py pipe PATH | edges PATH | program DIRECTORY, of a program that begins with a line of
its input.
"""
import os, select, sys, threading

NAMES = {select.POLLIN: "IN", select.POLLOUT: "OUT", select.POLLERR: "ERR", select.POLLHUP: "HUP"}
# Nothing here is waited for so long but by mistake.
LIMIT = 10_000


def words(events):
    return "+".join(name for bit, name in NAMES.items() if events & bit) or "-"


def poll(fd, events, limit=0):
    poller = select.poll()
    poller.register(fd, events)
    found = poller.poll(limit)
    return words(found[0][1]) if found else "-"


def until(fd, events, limit=LIMIT):
    """What is there first of these events, an error or a hang-up."""
    return poll(fd, events, limit)


def pipe(path):
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    print("no writer yet", poll(reader, select.POLLIN))
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    print("empty", poll(reader, select.POLLIN), poll(writer, select.POLLOUT))
    print("a while later", poll(reader, select.POLLIN, 300))
    # Whoever waits is woken by what comes.
    found = []
    waiters = [
        threading.Thread(target=lambda: found.append(until(reader, select.POLLIN))),
        threading.Thread(target=lambda: found.append(
            "select" if select.select([reader], [], [], LIMIT / 1000)[0] else "-")),
    ]
    for waiter in waiters: waiter.start()
    for waiter in waiters: waiter.join(0.2)
    print("still waiting", sum(waiter.is_alive() for waiter in waiters))
    os.write(writer, b"hello")
    for waiter in waiters: waiter.join()
    print("woken", sorted(found))
    print("read", os.read(reader, 100), poll(reader, select.POLLIN))
    count = 0
    while poll(writer, select.POLLOUT) == "OUT": count += os.write(writer, b"x" * 16384)
    print("full", count, poll(writer, select.POLLOUT))
    waiter = threading.Thread(target=lambda: found.append(until(writer, select.POLLOUT)))
    waiter.start()
    waiter.join(0.2)
    print("still waiting", waiter.is_alive())
    os.read(reader, 16384)
    waiter.join()
    print("room", found[-1])
    while poll(reader, select.POLLIN) == "IN": os.read(reader, 16384)
    os.close(writer)
    print("writers gone", until(reader, select.POLLIN), os.read(reader, 10))
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    print("a new one", until_not(reader, select.POLLIN, "HUP"))
    os.close(reader)
    print("readers gone", until_word(writer, select.POLLOUT, "ERR"))
    both = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    print("both", poll(both, select.POLLIN | select.POLLOUT))
    os.write(both, b"y")
    print("both", poll(both, select.POLLIN | select.POLLOUT))


def until_word(fd, events, word):
    """Asks until a word is among what is said: Linux does not wait for the last close of a file."""
    for _ in range(500):
        said = poll(fd, events, 20)
        if word in said.split("+"): return word
    return said


def until_not(fd, events, word):
    for _ in range(500):
        said = poll(fd, events)
        if word not in said.split("+"): return said
    return said


def edges(path):
    """An edge comes for each thing that is written, once the reader has read what there was."""
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    epoll = select.epoll()
    epoll.register(reader, select.EPOLLIN | select.EPOLLET)
    for text in b"one", b"two", b"three":
        os.write(writer, text)
        got = b""
        while got != text:
            events = epoll.poll(LIMIT / 1000)
            if not events:
                print("no edge")
                return
            try:
                while True: got += os.read(reader, 100)
            except BlockingIOError:
                pass
        print(got.decode())


def program(directory):
    out, wait, events = (
        os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NONBLOCK)
        for name in ("out", "wait", "events"))
    into = os.open(f"{directory}/in", os.O_WRONLY)
    files = out, wait, events
    print("quiet", [poll(file, select.POLLIN) for file in files], poll(into, select.POLLOUT))
    try:
        print(os.read(out, 10))
    except BlockingIOError as error:
        print(error.strerror)
    os.write(into, b"word\n")
    print("said", until(out, select.POLLIN), os.read(out, 100))
    os.write(into, b"end\n")
    print("ended", [until(file, select.POLLIN) for file in files])
    print(os.read(wait, 100), os.read(events, 100), os.read(out, 100))
    print("behind it", [poll(file, select.POLLIN) for file in files])


{"pipe": pipe, "edges": edges, "program": program}[sys.argv[1]](sys.argv[2])
