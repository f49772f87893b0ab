"""Listens to V's packets between two hosts, then sends the second one bad versions of them.

Usage: bad_packets.py OWN-ADDRESS OTHER-ADDRESS COUNT OBJECT; as root, while packets pass. OBJECT is
one of the other host. Prints the port that the bad ones come from.
"""

import os
import socket
import sys

PORT = 61044
ALL_PROTOCOLS = 0x0003
UDP = 17


def captured(own, other):
    """A packet to the other host, and one from it."""
    found = {}
    # Who listens to one protocol does not see what leaves.
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
    listener.settimeout(5)
    while len(found) < 2:
        packet = listener.recv(65536)
        header = (packet[0] & 15) * 4
        if packet[0] >> 4 != 4 or packet[9] != UDP:
            continue
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        ports = {int.from_bytes(packet[header + at : header + at + 2], "big") for at in (0, 2)}
        if ports == {PORT} and {source, target} == {own, other}:
            found[source] = packet[header + 8 :]
    return found[own], found[other]


def bad(sent, received):
    damaged = bytearray(sent)
    damaged[len(sent) // 2] ^= 1
    unsealed = bytearray(sent)
    unsealed[10] &= ~0x40  # EPG, the flag that says that it is sealed
    return [sent, bytes(damaged), received, bytes(unsealed), sent[:40], sent[:5], os.urandom(5)]


own, other, count, served = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
packets = bad(*captured(own, other))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.bind((own, 0))
print(sender.getsockname()[1])
for _ in range(count):
    for packet in packets:
        sender.sendto(packet, (other, PORT))
    # Answered after they were read: what a full buffer drops, nobody can count.
    os.stat(served)
