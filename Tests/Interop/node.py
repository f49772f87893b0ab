#!/usr/bin/env python3
"""A node of V in one file, written from the pages of VProtocol.docc and from nothing else.

It joins a cluster over UDP under the cluster's key. It answers probes, has a directory of its
own, serves a clock under a prefix that it claims, keeps a member of groups, and is a client of
the other hosts' servers.

    python3 node.py --host hut --address 10.77.0.4 --key /etc/v/cluster.key

Its commands are lines on its input, in words as a shell has them. Each is answered by a line of
JSON: {"value": ...}, or {"failure": "words"}. They act for the user ann of this host.

    hosts COUNT         the names of the other hosts, sorted; waits up to 10 s for so many
    time HOST           its clock: nanoseconds since 1970
    digest              whether another directory has the same table; waits up to 10 s for that
    read NAME, sum NAME, list NAME
                        a file's text; the SHA-256 of its octets in hex; the names in a context
    write NAME COUNT    writes so many octets; their SHA-256 in hex
    serve PREFIX        claims a prefix with the text "clock" in it; withdraw PREFIX gives it up
    run HOST COMMAND    a program: its name (program), what it wrote (out, err), its end (status)
    select              the hosts that would run a program, sorted
    make GROUP          makes a group here
    join GROUP          makes a member of this host; its name
    messages            what that member was told, in order: from, text
    send GROUP TEXT     what each member answered, by its name

Comments name the page, and the section of it, that a part is from. What is left out, for one
cluster on one network: IPv6, several places of a kernel, Forward, entities that move, priorities
(all is normal), and yielding to another node that has this node's name (this one ends instead).
"""
import argparse
import ctypes
import hashlib
import heapq
import hmac
import ipaddress
import itertools
import json
import os
import re
import secrets
import select
import shlex
import socket
import struct
import sys
import time

# ---------------------------------------------------------------------------------------------
# Layouts. Everything that a new version of the protocol would change is here.

VERSION = 2                           # VMTP, "Packet"
DOMAINS = (0x1045, 1)
UNICAST_PORT, MULTICAST_PORT = 61044, 61045   # VMTP, "Overview"
MULTICAST_BASE = int(ipaddress.IPv4Address("239.192.0.0"))   # VMTP, "Places"

EPG, MPG = 0x4000, 0x2000             # word 2 of a packet
APG = 0x40000000                      # word 3 of a packet
RETRANSMIT, FORWARD = 0x00700000, 0x000F0000
RESPONSE = 1
DGM, SDA, CRE, MRD, PIC = 0x40, 0x10, 0x04, 0x02, 0x01   # VMTP, "Message"

GROUP = 1 << 62                       # VMTP, "Identifiers": the bit GRP
MANAGERS = 0x40000001E0000100
NAME_HANDLERS = 0x60000002E0000100
NODES = 0x60000012E0000100
TIME_SERVERS = 0x40000013E0000100
GROUP_SERVERS = 0x60000016E0000100    # Groups, "Overview"

HEADER = struct.Struct(">QIIIIQ8I")   # Client, words 2 and 3, Transaction, PacketDelivery, Server
TRAILER = struct.Struct(">IQ16s")     # Sealed packets, "Layout": sender, number, tag
DESCRIPTOR = struct.Struct(">HHI3QQQqqqqIIQQQIHHH6x")      # UIO, "Descriptor"
CLAIM = struct.Struct(">HHQQQ")       # Naming, "Claim"; two texts follow

REPLY_CODES = {                       # VMTP, "Reply codes"; those that this node uses
    "ok": 0, "retry": 1, "retryAll": 2, "busy": 3, "nonexistentEntity": 4, "noPermission": 6,
    "retransmissionTimeout": 0xD, "userTimeout": 0xE, "responseDiscarded": 0xF,
    "endOfFile": 0x800001, "badArguments": 0x800004, "modeNotSupported": 0x800005,
    "invalidFileID": 0x800006, "notFound": 0x800009, "invalidContext": 0x80000A,
    "illegalRequest": 0x80000F, "notContext": 0x800011, "isContext": 0x800012,
    "outcomeUnknown": 0x800029}
CODE_NAMES = {number: name for name, number in REPLY_CODES.items()}

# A field is NAME:WORDS; two words are 64 bits, h and l are the halves of a word.
NAME = "context:1,2 index:3h name:3l "
STATE = "transaction:1 entity:2,3 state:4 startedAt:5,6"
OPERATIONS = {   # name: code, fields of the request, fields of the answer
    "ProbeEntity": (0x000101, "process:1,2 again:3,4", STATE),
    "NotifyClient": (0x00010F,
                     "client:1,2 counts:3h one:3l movedTo:4 transaction:5 delivery:6 code:7", ""),
    "NotifyServer": (0x000110, "server:1,2 client:3,4 transaction:5 delivery:6 code:7", ""),
    "BeginTransaction": (0x000120, STATE, ""),
    "QueryOutcome": (0x000121, "client:1,2 transaction:3", ""),
    "QueryName": (0x001001, NAME, "manager:1,2 context:3,4 prefixBytes:5h kind:5l"),
    "QueryObject": (0x001002, NAME, ""),
    "CheckAccess": (0x001009, NAME + "mask:4", ""),
    "QueryStore": (0x00100A, NAME, ""),
    "SpreadClaims": (0x00100C, "wantsAnswer:1", ""),
    "SpreadDigest": (0x001011, "directory:1,2", ""),
    "QueryClaims": (0x001012, "buckets:1,2 start:3,4", "next:1,2"),
    "CreateInstance": (0x001101, NAME + "mode:4h permissions:4l owner:5,6",
                       "instance:1,2 attributes:3 isNew:4"),
    "QueryInstance": (0x001102, "instance:1,2", ""),
    "ReadInstance": (0x001104, "instance:1,2 count:3 position:4,5", "position:1,2"),
    "WriteInstance": (0x001105, "instance:1,2 dropsPrivileges:3 position:4,5", "count:1 size:2,3"),
    "ReleaseInstance": (0x001106, "instance:1,2", ""),
    "PingNode": (0x001201, "", ""),
    "FindNode": (0x001202, "", "server:1,2 wallClock:3,4"),
    "QueryNode": (0x001203, "", ""),
    "EchoSegment": (0x001205, "answerBytes:3", ""),
    "GetTime": (0x001301, "near:1,2", "count:1,2"),
    "SelectHost": (0x001501, "programClass:3 excluded:4", "server:1,2 loadThousandths:3"),
    "GroupMessage": (0x001601, "", "outcome:1"),
    "QueryGroup": (0x001602, "", "madeAt:1,2 permissions:3"),
    "ChangeGroup": (0x001603, "change:1 program:3,4", ""),
}
BY_CODE = {code: name for name, (code, _, _) in OPERATIONS.items()}

READ, WRITE, DIRECTORY = 1, 2, 64     # UIO, CreateInstance: modes
FILE, CONTEXT = 1, 2                  # UIO, "Descriptor": kinds
TEXT = 1 | 16 | 64 | 512              # attributes readable, fixedLength, multiBlock, randomAccess
PRESENT, WITHDRAWN, AWAY = 1, 2, 3     # Naming, "Claim": states
FULL_ROOT = 2                         # VMTP, "Principals": marks


def put_fields(layout, values):
    """Words 1 to 7 of a message with these values."""
    words = [0] * 7
    for field in layout.split():
        name, place = field.split(":")
        value, first = values.get(name, 0), int(place[0]) - 1
        if "," in place:
            words[first], words[first + 1] = value >> 32, value & 0xFFFFFFFF
        elif place[-1] == "h":
            words[first] |= value << 16
        else:
            words[first] |= value
    return words


def get_fields(layout, words):
    values = {}
    for field in layout.split():
        name, place = field.split(":")
        word = words[int(place[0])]
        if "," in place:
            values[name] = word << 32 | words[int(place[0]) + 1]
        else:
            values[name] = {"h": word >> 16, "l": word & 0xFFFF}.get(place[-1], word)
    return values


def message(code, layout, values, segment, flags):
    """The eight words of a message. Word 7 is the size of the segment, where there is one."""
    words = [flags << 24 | code] + put_fields(layout, values)
    if segment is not None:
        words[0] |= SDA << 24
        words[7] = len(segment)
    return words


def request_words(operation, segment=None, flags=0, /, **values):
    code, layout, _ = OPERATIONS[operation]
    return message(code, layout, values, segment, flags | PIC)


def answer_words(operation, segment=None, /, **values):
    return message(0, OPERATIONS[operation][2], values, segment, 0)


def text(octets):
    """VProtocol, "Conventions": a length of 16 bits and so many octets."""
    octets = octets.encode() if isinstance(octets, str) else octets
    return struct.pack(">H", len(octets)) + octets


def take_text(octets):
    size, = struct.unpack_from(">H", octets)
    if len(octets) < 2 + size:
        raise ValueError("a text is longer than its record")
    return octets[2:2 + size].decode("utf-8", "replace"), octets[2 + size:]


def take_texts(octets):
    found = []
    while octets:
        one, octets = take_text(octets)
        found.append(one)
    return found


# ---------------------------------------------------------------------------------------------
# Sealed packets: keys, sealing, opening.

crypto = ctypes.CDLL("libcrypto.so.3")
crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
crypto.EVP_aes_128_gcm.restype = ctypes.c_void_p
CONTEXT_OF_CIPHER = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
AES_128_GCM = ctypes.c_void_p(crypto.EVP_aes_128_gcm())
GET_TAG, SET_TAG = 0x10, 0x11


def aes_gcm(key, nonce, associated, octets, tag=None):
    """Encrypts, and returns (text, tag); or decrypts if there is a tag, None if that is wrong."""
    context, size = CONTEXT_OF_CIPHER, ctypes.c_int()
    out, final = ctypes.create_string_buffer(len(octets) + 16), ctypes.create_string_buffer(16)
    seals = 1 if tag is None else 0
    crypto.EVP_CipherInit_ex(context, AES_128_GCM, None, key, nonce, seals)
    crypto.EVP_CipherUpdate(context, None, ctypes.byref(size), associated, len(associated))
    crypto.EVP_CipherUpdate(context, out, ctypes.byref(size), octets, len(octets))
    if not seals:
        crypto.EVP_CIPHER_CTX_ctrl(context, SET_TAG, 16, ctypes.c_char_p(tag))
        if crypto.EVP_CipherFinal_ex(context, final, ctypes.byref(size)) != 1:
            return None
        return out.raw[:len(octets)]
    crypto.EVP_CipherFinal_ex(context, final, ctypes.byref(size))
    crypto.EVP_CIPHER_CTX_ctrl(context, GET_TAG, 16, final)
    return out.raw[:len(octets)], final.raw


class Refused(Exception):
    """A packet that is dropped and counted."""


class UnknownSender(Refused):
    pass


class Sealer:
    def __init__(self, kernel, secret):
        self.kernel = kernel
        # "Keys": HKDF-SHA256; its second step has one round, since 28 octets are wanted.
        self.pseudorandom = hmac.digest(b"v cluster key", secret, "sha256")
        self.keys = {}
        self.number = time.time_ns()  # "Sealing": the sequence starts at the time of day
        self.seen = {}                # (sender, multicast): the highest number, a mask below it
        self.known = set()            # kernels heard under the group's key, or sealed for

    def key(self, info):
        if info not in self.keys:
            octets = hmac.digest(self.pseudorandom, info + b"\1", "sha256")
            self.keys[info] = octets[:16], int.from_bytes(octets[16:28], "big")
        return self.keys[info]

    def key_and_nonce(self, sender, receiver, number):
        info = b"v multicast"
        if receiver is not None:
            info = b"v unicast" + struct.pack(">II", sender, receiver)
        key, mask = self.key(info)
        return key, ((sender << 64 | number) ^ mask).to_bytes(12, "big")

    def seal(self, plain, receiver):
        """receiver is a kernel; None, and MPG in the packet, for the key of the group."""
        self.number += 1
        trailer = struct.pack(">IQ", self.kernel, self.number)
        key, nonce = self.key_and_nonce(self.kernel, receiver, self.number)
        sealed, tag = aes_gcm(key, nonce, plain[:12] + trailer, plain[12:])
        if receiver is not None:
            self.known.add(receiver)
        return plain[:12] + sealed + trailer + tag

    def open(self, packet):
        """The sender, whether MPG is set, and the packet without its trailer. See "Opening"."""
        if len(packet) < 12 or packet[8] >> 5 != VERSION:
            raise Refused("badVersion")
        word2, = struct.unpack_from(">I", packet, 8)
        if len(packet) < 92 or not word2 & EPG:
            raise Refused("badSeal")
        sender, number, tag = TRAILER.unpack(packet[-28:])
        if sender == self.kernel:
            raise Refused("badSeal")
        multicast = bool(word2 & MPG)
        if not multicast and sender not in self.known:
            raise UnknownSender(sender)
        receiver = None if multicast else self.kernel
        key, nonce = self.key_and_nonce(sender, receiver, number)
        associated = packet[:12] + packet[-28:-16]
        plain = aes_gcm(key, nonce, associated, packet[12:-28], tag)
        if plain is None:
            raise Refused("badSeal")
        self.refuse_repeated((sender, multicast), number)
        self.known.add(sender)
        return sender, multicast, packet[:12] + plain

    def refuse_repeated(self, sequence, number):
        highest, mask = self.seen.get(sequence, (number, 0))
        if number > highest:
            mask = mask << (number - highest) if number - highest < 1024 else 0
            highest = number
        bit = highest - number        # bit 0 is the highest number itself
        if bit > 1023 or mask >> bit & 1:
            raise Refused("replayed")
        self.seen[sequence] = highest, (mask | 1 << bit) & (1 << 1024) - 1


# ---------------------------------------------------------------------------------------------
# VMTP: packets and packet groups.

def whole_mask(size):                 # "Blocks"
    return (1 << (size + 511) // 512) - 1


class Packet:
    def __init__(self, client, transaction, server, words, control=0, delivery=0, data=b"",
                 multicast=False):
        self.client, self.transaction, self.server = client, transaction, server
        self.words, self.control, self.delivery = words, control, delivery
        self.data, self.multicast = data, multicast

    @property
    def code(self):
        return self.words[0] & 0xFFFFFF

    @property
    def flags(self):
        return self.words[0] >> 24

    @property
    def size(self):
        return self.words[7] if self.flags & SDA else 0

    @property
    def counts(self):
        """RetransmitCount and ForwardCount, in their places."""
        return self.control & (RETRANSMIT | FORWARD)

    @property
    def forwards(self):
        return self.control & FORWARD

    @property
    def asks_again(self):             # "A transaction, server's side"
        repeated = self.control & RETRANSMIT or self.control & APG
        return bool(repeated and (not self.delivery or self.delivery & 1))

    def emit(self):
        padded = self.data + bytes(-len(self.data) % 8)
        word2 = VERSION << 29 | DOMAINS[0] << 16 | EPG | len(padded) // 4
        if self.multicast:
            word2 |= MPG
        return HEADER.pack(self.client, word2, self.control, self.transaction, self.delivery,
                           self.server, *self.words) + padded

    @classmethod
    def parse(cls, octets):           # "What a receiver does with a packet"
        client, word2, control, transaction, delivery, server, *words = HEADER.unpack_from(octets)
        packet = cls(client, transaction, server, words, control, delivery, octets[64:],
                     bool(word2 & MPG))
        length = word2 & 0x1FFF
        if not client or not server or word2 >> 16 & 0x1FFF not in DOMAINS:
            raise Refused("badEntity")
        if length % 2 or length > 4096 or len(packet.data) != 4 * length or packet.size > 16384:
            raise Refused("badLength")
        if delivery & ~whole_mask(packet.size) or packet.used() + -packet.used() % 8 != 4 * length:
            raise Refused("badDelivery")
        return packet

    def blocks(self):
        return [number for number in range(32) if self.delivery >> number & 1]

    def used(self):
        return sum(min(512, self.size - 512 * number) for number in self.blocks())


def packet_group(head, segment, mask):
    """Packets of at most two blocks each, the blocks of the mask. Without blocks it is one."""
    numbers = [number for number in range(32) if mask >> number & 1]
    for first in range(0, len(numbers), 2) if numbers else [0]:
        pair = numbers[first:first + 2]
        data = b"".join(segment[512 * number:512 * number + 512] for number in pair)
        yield Packet(head.client, head.transaction, head.server, head.words, head.control,
                     sum(1 << number for number in pair), data, head.multicast)


class Assembly:
    """A packet group while it arrives."""

    def __init__(self, packet):
        self.head, self.mask = packet, 0
        self.segment = bytearray(packet.size)
        self.add(packet)

    def belongs(self, packet):
        return (packet.words, packet.server) == (self.head.words, self.head.server)

    def add(self, packet):
        """Whether the packet brought a block that was missing."""
        brought = False
        for place, number in enumerate(packet.blocks()):
            if not self.mask >> number & 1:
                block = packet.data[512 * place:512 * place + 512]
                block = block[:len(self.segment) - 512 * number]
                self.segment[512 * number:512 * number + len(block)] = block
                self.mask |= 1 << number
                brought = True
        return brought

    @property
    def is_complete(self):
        return self.mask == whole_mask(len(self.segment))


def is_newer(number, than):           # "A transaction, client's side"
    return 1 <= (number - than) % (1 << 32) < 1 << 31


class Failure(Exception):
    """A reply code other than ok, with words for people."""

    def __init__(self, code, words=""):
        self.code = REPLY_CODES[code] if isinstance(code, str) else code
        self.words = words
        super().__init__(CODE_NAMES.get(self.code, f"{self.code:06X}") + (words and ": " + words))


class Answer:
    def __init__(self, name, packet, segment):
        self.code, self.server, self.segment = packet.code, packet.server, bytes(segment)
        self.fields = get_fields(OPERATIONS[name][2], packet.words)

    def __getattr__(self, field):
        try:
            return self.fields[field]
        except KeyError:
            raise AttributeError(field) from None

    def check(self):
        if self.code not in (REPLY_CODES["ok"], REPLY_CODES["endOfFile"]):
            raise Failure(self.code, self.segment.decode("utf-8", "replace"))
        return self


# ---------------------------------------------------------------------------------------------
# VMTP: a transaction, client's side.

class Transaction:
    """One Send. With MRD it collects the answers of all members until its time limit."""
    SILENT = 2.0                      # seconds after which a kernel that owes an answer is down
    BEGIN_AFTER = 5.0                 # seconds without a response, after which one begins

    def __init__(self, node, client, server, name, words, segment, limit):
        self.node, self.name, self.limit = node, name, limit
        self.segment = segment or b""
        self.collects = bool(words[0] >> 24 & MRD)
        self.to_group = bool(server & GROUP)
        self.kernel = None if self.to_group else server & 0xFFFFFFFF
        self.number = node.next_number(client)
        self.head = Packet(client, self.number, server, words, multicast=self.to_group)
        self.sends, self.state = 0, "asking"
        self.assemblies, self.answers, self.failure = {}, [], None
        self.ends_at = time.monotonic() + limit
        self.interval, self.receive_tries = (0.01 if self.collects else 0.05), 0
        self.counts_heard, self.timer = None, None

    def start(self):
        self.last_answer = time.monotonic()
        if self.to_group:
            self.transmit(whole_mask(len(self.segment)))
        elif self.kernel not in self.node.peers:
            self.state = "locating"
            self.node.probe(self.head.server, tries=20)
        elif self.node.idle_time(self.head.client, self.kernel) > self.BEGIN_AFTER:
            self.begin()
        else:
            self.transmit(whole_mask(len(self.segment)))
        self.again_in(self.interval)

    def begin(self):
        self.state = "beginning"
        state, principal = self.node.state_of(self.head.client)
        words = request_words("BeginTransaction", principal, DGM, **state)
        self.node.send_management(self.kernel, words, principal, control=self.count())

    def count(self):
        """RetransmitCount: 0 at first, then 1 to 7 and 1 again."""
        count = (self.sends - 1) % 7 + 1 if self.sends else 0
        self.sends += 1
        return count << 20

    def transmit(self, mask, flags=0):
        self.head.control = self.count() | flags
        self.node.send_group(self.head, self.segment, self.kernel, mask)

    def again_in(self, seconds):
        if self.timer:
            self.timer.cancel()
        self.timer = self.node.after(seconds, self.handle_time)

    def handle_time(self):
        now = time.monotonic()
        if now > self.ends_at:
            return self.end(None if self.collects else Failure("userTimeout"))
        if not self.collects and now - self.last_answer > self.SILENT:
            return self.end(Failure("retransmissionTimeout"))
        if self.kernel in self.node.replaced:
            return self.end(Failure("outcomeUnknown"))
        if self.assemblies and not self.collects and self.receive_tries < 3:
            self.receive_tries += 1
            self.ask_for_rest(next(iter(self.assemblies.values())))
        elif self.state == "locating":
            if self.kernel in self.node.peers:
                self.begin()
        elif self.state == "beginning":
            self.begin()
        else:
            self.transmit(whole_mask(len(self.segment)) if self.to_group else 0, APG)
        self.interval = min(2 * self.interval, 0.5 if self.collects or self.working else 0.1)
        self.again_in(self.interval)

    working = False

    def ask_for_rest(self, assembly):
        self.node.notify_server(assembly.head, assembly.mask, "retry")

    def handle_response(self, packet, sender):
        head = self.head
        if packet.server != head.server and not self.to_group and not packet.forwards:
            return
        self.last_answer = time.monotonic()
        if not self.to_group:         # a response to a group's request leaves no record there
            self.node.heard_response(head.client, sender)
        assembly = self.assemblies.get(packet.server)
        if assembly is None:
            assembly = self.assemblies[packet.server] = Assembly(packet)
        elif assembly.belongs(packet) and assembly.add(packet):
            self.receive_tries = 0
        if assembly.is_complete:
            self.complete(assembly, packet)
        elif not self.collects:
            self.again_in(0.005)
        else:
            self.node.after(0.005, lambda: assembly.is_complete or self.ask_for_rest(assembly))

    def complete(self, assembly, packet):
        if packet.control & APG:
            self.node.notify_server(packet, assembly.mask, "ok")
        if any(answer.server == packet.server for answer in self.answers):
            return
        self.answers.append(Answer(self.name, assembly.head, assembly.segment))
        if not self.collects:
            self.end(None)

    def handle_notify(self, fields):  # the rows "Notify" of the client's table
        if fields["counts"] != self.counts_heard:     # an answer to what was sent last
            self.counts_heard, self.last_answer = fields["counts"], time.monotonic()
        if self.assemblies:
            return                    # while it receives the response
        code, all_blocks = fields["code"], whole_mask(len(self.segment))
        self.working = code in (REPLY_CODES["ok"], REPLY_CODES["busy"])
        if code == REPLY_CODES["retry"]:
            self.transmit(all_blocks & ~fields["delivery"])
        elif code == REPLY_CODES["retryAll"]:
            if self.state == "beginning":             # the request was never sent
                self.state, self.sends, self.interval = "asking", 0, 0.05
            self.transmit(all_blocks)
            self.again_in(self.interval)
        elif code == REPLY_CODES["busy"] and self.sends <= 1:
            self.state = "beginning"
        elif not self.working:
            self.end(Failure(code))

    def end(self, failure):
        self.failure, self.state = failure, "done"
        self.timer.cancel()


# ---------------------------------------------------------------------------------------------
# VMTP: a transaction, server's side.

class Request:
    """What a server is given."""

    def __init__(self, packet, segment, principal, marks):
        self.client, self.server, self.packet = packet.client, packet.server, packet
        self.segment, self.principal, self.marks = bytes(segment), principal, marks
        self.name = BY_CODE.get(packet.code)
        self.through_group = bool(packet.server & GROUP)
        if self.name:
            self.fields = get_fields(OPERATIONS[self.name][1], packet.words)

    def __getattr__(self, field):
        try:
            return self.__dict__["fields"][field]
        except KeyError:
            raise AttributeError(field) from None


class Server:
    """Has a method for each operation. It returns (words, segment), or None to be silent."""
    is_idempotent = False             # "Idempotent servers are an exception"

    def __init__(self, node, entity):
        self.node, self.entity = node, entity

    def answer(self, request):
        operation = getattr(self, request.name or "", None)
        try:
            if operation is None:
                raise Failure("illegalRequest")
            return operation(request)
        except Failure as failure:
            if request.through_group and failure.code == REPLY_CODES["illegalRequest"]:
                return None
            words = failure.words.encode() or None
            return message(failure.code, "", {}, words, 0), words
        except (ValueError, struct.error):
            return message(REPLY_CODES["badArguments"], "", {}, None, 0), None


def reply(request, segment=None, /, **fields):
    return answer_words(request.name, segment, **fields), segment


class Record:
    """What a kernel keeps of one remote client (and one local member of a group)."""
    KEPT = 5.0                        # seconds that a response or a discarded record is kept

    def __init__(self, node, key, server, number, forwards=0):
        self.node, self.key, self.client, self.server = node, key, key[0], server
        self.number, self.forwards, self.state = number, forwards, "awaiting probe"
        self.principal, self.marks = None, 0
        self.assembly, self.response, self.timer = None, None, None
        self.tries = 0

    def in_a_while(self, seconds, action):
        if self.timer:
            self.timer.cancel()
        self.timer = self.node.after(seconds, action)

    def forget(self):
        if self.timer:
            self.timer.cancel()
        self.node.records.pop(self.key, None)

    def discard(self, seconds=KEPT):
        self.state, self.response, self.assembly = "discarded", None, None
        self.in_a_while(seconds, self.forget)

    # The probe: who is the client, and does it wait for this transaction?

    def ask_client(self):
        self.node.probe(self.client, kernel=self.client & 0xFFFFFFFF, then=self.handle_probe)
        self.in_a_while(12 * 0.1, self.forget)

    def handle_probe(self, answer):
        if self.state != "awaiting probe" or self.node.records.get(self.key) is not self:
            return
        if answer.code == REPLY_CODES["nonexistentEntity"]:
            return self.forget()
        datagram = self.assembly.head.flags & DGM
        if answer.transaction != self.number or not (answer.state & 1 or datagram):
            return self.discard()
        self.principal, self.marks = answer.segment.decode(), answer.state >> 1
        self.take()

    # The request.

    def take(self):
        self.state, self.tries = "receiving", 0
        if not self.assembly.is_complete:
            # Nothing of a datagram is asked for: without its rest it is dropped.
            datagram = self.assembly.head.flags & DGM
            return self.in_a_while(0.005, self.discard if datagram else self.ask_for_rest)
        if self.timer:
            self.timer.cancel()
        self.state = "processing"
        head = self.assembly.head
        found = self.server.answer(Request(head, self.assembly.segment, self.principal, self.marks))
        if found is None or head.flags & DGM:
            return self.discard()
        self.response = Packet(self.client, self.number, self.server.entity, found[0],
                               head.counts | RESPONSE), found[1] or b""
        self.state, self.tries = "responded", 0
        self.respond()
        self.in_a_while(self.KEPT, self.ask_whether_it_came)

    def ask_for_rest(self):
        self.tries += 1
        if self.tries > 30:
            return self.forget()
        self.node.notify_client(self.assembly.head, "retry", self.assembly.mask)
        self.in_a_while(min(0.1, 0.01 * 2 ** self.tries), self.ask_for_rest)

    def respond(self, mask=None):
        self.node.send_group(*self.response, self.client & 0xFFFFFFFF, mask)

    def ask_whether_it_came(self):
        self.tries += 1
        if self.tries > 6:
            return self.forget()
        self.response[0].control |= APG
        self.respond(mask=0)          # the header alone
        self.in_a_while(self.KEPT, self.ask_whether_it_came)

    def handle_copy(self, packet):
        """A packet of the transaction that this record has."""
        if self.state in ("awaiting probe", "receiving"):
            if self.assembly.belongs(packet) and self.assembly.add(packet):
                self.tries = 0
                if self.state == "receiving":
                    return self.take()
            if self.state == "receiving" and not packet.delivery and packet.control & APG:
                self.node.notify_client(packet, "retry", self.assembly.mask)
        elif packet.asks_again and self.state == "responded":
            self.response[0].control = packet.counts | RESPONSE
            self.respond()
        elif packet.asks_again and self.state == "discarded" and not packet.multicast:
            self.node.notify_client(packet, "responseDiscarded")

    def handle_notify(self, fields):
        if self.state != "responded":
            return
        if fields["code"] in (REPLY_CODES["retry"], REPLY_CODES["retryAll"]):
            have = fields["delivery"] if fields["code"] == REPLY_CODES["retry"] else 0
            self.respond(whole_mask(len(self.response[1])) & ~have)
        else:
            self.discard()


# ---------------------------------------------------------------------------------------------
# The kernel: sockets, peers, clients, and the management operations of VMTP.

class Timer:
    order = itertools.count()

    def __init__(self, seconds, action):
        self.at, self.action, self.number = time.monotonic() + seconds, action, next(self.order)

    def cancel(self):
        self.action = None

    def __lt__(self, other):
        return (self.at, self.number) < (other.at, other.number)


def host_of(principal):               # "One host, one name"
    """The host of `user@host`, where the user may be empty; None if it is no principal."""
    found = re.fullmatch("[!-?A-~]*@([!-?A-~]+)", principal.decode("latin-1"))
    return found and found[1]


class Peer:
    def __init__(self, place):
        self.place, self.host, self.started_at, self.asked_until = place, None, 0, 0


class Node:
    ANNOUNCEMENTS, BETWEEN_ANNOUNCEMENTS = 4, 0.1     # "ProbeEntity"

    def __init__(self, host, address, secret):
        self.host, self.started_at = host, time.time_ns()
        self.kernel = secrets.randbelow(0xFFFFFFFF) + 1
        self.sealer = Sealer(self.kernel, secret)
        self.discriminators = itertools.count(16)     # all below are reserved
        self.peers, self.replaced, self.refused = {}, set(), {}
        self.servers, self.members = {}, {}
        self.clients, self.numbers, self.current, self.responses = {}, {}, {}, {}
        self.records, self.probes, self.probed = {}, {}, {}
        self.timers = []
        self.open_sockets(address)
        self.manager = self.entity(1)
        self.announce()

    def entity(self, discriminator=None):
        return (discriminator or next(self.discriminators)) << 32 | self.kernel

    def is_here(self, entity):
        return not entity & GROUP and entity & 0xFFFFFFFF == self.kernel

    # Sockets and time.

    def open_sockets(self, address):  # "Places"
        self.unicast = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.unicast.bind((address, UNICAST_PORT))
        interface = socket.inet_aton(address)
        self.unicast.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        self.unicast.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        self.groups = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.groups.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.groups.bind(("", MULTICAST_PORT))
        for number in range(16):
            group = (MULTICAST_BASE + number).to_bytes(4, "big")
            self.groups.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + interface)

    def after(self, seconds, action):
        timer = Timer(seconds, action)
        heapq.heappush(self.timers, timer)
        return timer

    def pump(self, seconds, also=()):
        """Handles what comes within so many seconds; returns those of `also` with input."""
        if self.timers:
            seconds = min(seconds, max(0, self.timers[0].at - time.monotonic()))
        ready = select.select([self.unicast, self.groups, *also], [], [], seconds)[0]
        for one in (self.unicast, self.groups):
            if one in ready:
                packet, source = one.recvfrom(65536)
                self.receive(packet, source)
        while self.timers and self.timers[0].at <= time.monotonic():
            action = heapq.heappop(self.timers).action
            if action:
                action()
        return [one for one in also if one in ready]

    def wait(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.pump(end - time.monotonic())
        return condition()

    # Packets.

    def send(self, packet, kernel):
        """To one kernel; or, where that is None, to the address of the packet's group."""
        if kernel is None:
            discriminator = packet.server >> 32 & 0x0FFFFFFF
            number = 0 if packet.server == MANAGERS else 1 + discriminator % 15
            place = str(ipaddress.IPv4Address(MULTICAST_BASE + number)), MULTICAST_PORT
        elif kernel in self.peers:
            place = self.peers[kernel].place
        else:
            return
        sealed = self.sealer.seal(packet.emit(), None if packet.multicast else kernel)
        try:
            self.unicast.sendto(sealed, place)
        except OSError:
            pass                      # as if the network had lost it

    def send_group(self, head, segment, kernel, mask=None):
        segment = segment or b""
        mask = whole_mask(len(segment)) if mask is None else mask
        for packet in packet_group(head, segment, mask):
            self.send(packet, kernel)

    def respond(self, packet, server, words, segment=None):
        """Answers a request of which no record is kept."""
        head = Packet(packet.client, packet.transaction, server, words, packet.counts | RESPONSE)
        self.send_group(head, segment, packet.client & 0xFFFFFFFF)

    def receive(self, octets, source):
        try:
            sender, multicast, plain = self.sealer.open(octets)
            packet = Packet.parse(plain)
        except UnknownSender as unknown:
            return self.probe_unknown(unknown.args[0], source)
        except (Refused, struct.error) as refused:
            self.refused[str(refused)] = self.refused.get(str(refused), 0) + 1
            return
        peer = self.peers.setdefault(sender, Peer(source))
        if peer.host is None and time.monotonic() > peer.asked_until:
            peer.asked_until = time.monotonic() + 1.2
            self.probe(1 << 32 | sender, kernel=sender)
        if packet.control & RESPONSE:
            self.handle_response(packet, sender)
        elif packet.server == MANAGERS:
            self.handle_management(packet, sender)
        elif peer.host and (not self.is_here(packet.client) or packet.forwards):
            self.handle_request(packet)

    def probe_unknown(self, kernel, source):          # Sealed packets, "Opening", 3
        self.probed = {k: at for k, at in self.probed.items() if time.monotonic() - at < 1}
        if kernel in self.probed or len(self.probed) >= 10:
            return
        self.probed[kernel] = time.monotonic()
        self.sealer.known.add(kernel)
        self.probe(kernel | 1 << 32, place=source)

    # Clients.

    def client(self, user, marks=0):
        """A client entity of that user that has no transaction now."""
        for client, owner in self.clients.items():
            if owner == (user, marks) and client not in self.current:
                return client
        client = self.entity()
        self.clients[client] = user, marks
        self.numbers[client] = secrets.randbits(32)
        return client

    def next_number(self, client):
        number = self.numbers.get(client, secrets.randbits(32))
        self.numbers[client] = (number + 1) % (1 << 32)
        return self.numbers[client]

    def idle_time(self, client, kernel):
        return time.monotonic() - self.responses.get((client, kernel), -1e9)

    def heard_response(self, client, kernel):
        self.responses[client, kernel] = time.monotonic()

    def transact(self, server, operation, segment=None, /, user="ann", marks=0, limit=10, flags=0,
                 **fields):
        """Sends a request; returns all answers."""
        if server & 0xFFFFFFFF in self.replaced and not server & GROUP:
            raise Failure("nonexistentEntity")
        client = self.client(user, marks)
        words = request_words(operation, segment, flags, **fields)
        transaction = Transaction(self, client, server, operation, words, segment, limit)
        self.current[client] = transaction
        transaction.start()
        if transaction.to_group:
            self.ask_local_members(transaction, user, marks)
        self.wait(lambda: transaction.state == "done", limit + 1)
        del self.current[client]
        if transaction.failure:
            raise transaction.failure
        return transaction.answers

    def call(self, server, operation, segment=None, /, **more):
        """Sends a request; returns the first answer, which is no refusal."""
        return self.transact(server, operation, segment, **more)[0].check()

    def ask_local_members(self, transaction, user, marks):
        head = transaction.head
        for member in self.members.get(head.server, []):
            request = Request(head, transaction.segment, f"{user}@{self.host}", marks)
            found = member.answer(request)
            if found:
                response = Packet(head.client, head.transaction, member.entity, found[0])
                answer = Answer(transaction.name, response, found[1] or b"")
                transaction.answers.append(answer)

    def send_datagram(self, client, server, operation, segment, /, **fields):
        words = request_words(operation, segment, DGM, **fields)
        head = Packet(client, self.next_number(client), server, words,
                      multicast=bool(server & GROUP))
        self.send_group(head, segment, None if server & GROUP else server & 0xFFFFFFFF)

    # Servers.

    def serve(self, server, *groups):
        self.servers[server.entity] = server
        for group in groups:
            self.members.setdefault(group, []).append(server)

    def handle_request(self, packet):
        if packet.server & GROUP:
            members = self.members.get(packet.server, [])
            if packet.flags & CRE:    # "Message": for the members on one kernel
                near = packet.words[1] << 32 | packet.words[2]
                if not (self.is_here(near) or near & GROUP and near in self.members):
                    members = []
            for member in members:
                self.give(packet, member)
        elif packet.server == self.manager:
            self.handle_question(packet)
        elif packet.server in self.servers:
            self.give(packet, self.servers[packet.server])
        elif self.is_here(packet.server) and not packet.flags & DGM:
            self.notify_client(packet, "nonexistentEntity")

    def give(self, packet, server):
        if server.is_idempotent and packet.size <= 1024:
            return self.give_at_once(packet, server)
        key = packet.client, server.entity if packet.server & GROUP else 0
        record = self.records.get(key)
        if record and packet.transaction == record.number and packet.forwards <= record.forwards:
            if packet.forwards == record.forwards:
                record.handle_copy(packet)
            return
        if record and packet.transaction != record.number \
                and not is_newer(packet.transaction, record.number):
            return
        first = not packet.control & RETRANSMIT
        if not (record or first or packet.multicast or packet.forwards):
            return self.notify_client(packet, "outcomeUnknown")
        if record:
            record.forget()
        new = self.records[key] = Record(self, key, server, packet.transaction, packet.forwards)
        new.assembly = Assembly(packet)
        if record and record.principal:
            new.principal, new.marks = record.principal, record.marks
            new.take()
        else:
            new.ask_client()

    def give_at_once(self, packet, server):
        assembly = Assembly(packet)
        if not assembly.is_complete:
            return
        record = self.records.get((packet.client, 0))
        if record and record.state == "discarded":    # its client counts on it from now on
            record.discard(2 * Record.KEPT)
        found = server.answer(Request(packet, assembly.segment, None, 0))
        if found and not packet.flags & DGM:
            self.respond(packet, server.entity, *found)

    # Management, page VMTP.

    def send_management(self, kernel, words, segment=b"", control=0):
        head = Packet(self.manager, 0, MANAGERS, words, control, multicast=kernel is None)
        self.send_group(head, segment, kernel)

    def announce(self, times=ANNOUNCEMENTS):
        """ProbeEntity with DGM: a kernel says that it is here."""
        words = request_words("ProbeEntity", None, DGM | CRE, process=self.manager,
                              again=self.manager)
        self.send_management(None, words)
        if times > 1:
            self.after(self.BETWEEN_ANNOUNCEMENTS, lambda: self.announce(times - 1))

    def probe(self, entity, kernel=None, place=None, then=None, tries=12):
        """To one kernel; to a place, under the group's key; else to all. Repeated, for a while."""
        number = secrets.randbits(32)
        self.probes[number] = entity, then
        self.send_probe(number, entity, kernel, place, tries, 0.025)

    def send_probe(self, number, entity, kernel, place, tries, interval):
        if number not in self.probes:
            return                    # answered
        if not tries:
            self.probes.pop(number)
            return
        words = request_words("ProbeEntity", None, CRE, process=entity, again=entity)
        kernel = kernel if kernel in self.peers else None
        packet = Packet(self.manager, number, MANAGERS, words, multicast=kernel is None)
        if place:
            self.unicast.sendto(self.sealer.seal(packet.emit(), None), place)
        else:
            self.send(packet, kernel)
        self.after(interval, lambda: self.send_probe(
            number, entity, kernel, place, tries - 1, min(0.1, 2 * interval)))

    def notify_client(self, packet, code, delivery=0):
        words = request_words("NotifyClient", None, DGM | CRE, client=packet.client,
                              counts=packet.counts >> 16, one=1, transaction=packet.transaction,
                              delivery=delivery, code=REPLY_CODES[code])
        self.send_management(packet.client & 0xFFFFFFFF, words)

    def notify_server(self, packet, delivery, code):
        words = request_words("NotifyServer", None, DGM | CRE, server=packet.server,
                              client=packet.client, transaction=packet.transaction,
                              delivery=delivery, code=REPLY_CODES[code])
        self.send_management(packet.server & 0xFFFFFFFF, words)

    def state_of(self, entity):
        """What a probe is told of an entity of this kernel."""
        user, marks = self.clients.get(entity, ("", 0))
        state = {"transaction": self.numbers.get(entity, 0), "entity": entity,
                 "state": int(entity in self.current) | marks << 1,
                 "startedAt": self.started_at}
        return state, f"{user}@{self.host}".encode()

    def exists(self, entity):
        return entity == self.manager or entity in self.servers or entity in self.clients

    def handle_management(self, packet, sender):
        name = BY_CODE.get(packet.code)
        if not name or packet.client & 0xFFFFFFFF != sender:
            return
        fields = get_fields(OPERATIONS[name][1], packet.words)
        if name == "ProbeEntity":
            self.handle_probe(packet)
        elif packet.client >> 32 != 1:
            return
        elif name == "NotifyClient":
            transaction = self.current.get(fields["client"])
            if transaction and transaction.number == fields["transaction"] \
                    and transaction.kernel in (None, sender):
                transaction.handle_notify(fields)
        elif name == "NotifyServer":
            for key in ((fields["client"], 0), (fields["client"], fields["server"])):
                record = self.records.get(key)
                if record and record.number == fields["transaction"]:
                    record.handle_notify(fields)
        elif name == "BeginTransaction":
            self.handle_begin(packet, fields, sender)

    def handle_question(self, packet):
        """An ordinary request to the manager: whether an instance's owner lives, for example."""
        if packet.code == OPERATIONS["ProbeEntity"][0]:
            return self.handle_probe(packet)
        # This node keeps no outcomes of kernels that have ended.
        is_outcome = packet.code == OPERATIONS["QueryOutcome"][0]
        code = REPLY_CODES["outcomeUnknown" if is_outcome else "illegalRequest"]
        self.respond(packet, self.manager, message(code, "", {}, None, 0))

    def handle_probe(self, packet):
        entity = packet.words[1] << 32 | packet.words[2]
        if packet.flags & DGM:
            return                    # an announcement: its sender is a peer by now
        if packet.server == MANAGERS and not self.is_here(entity):
            return                    # another kernel has it; a process that asks is told so
        if self.exists(entity):
            state, principal = self.state_of(entity)
            words = answer_words("ProbeEntity", principal, **state)
            return self.respond(packet, self.manager, words, principal)
        words = message(REPLY_CODES["nonexistentEntity"], STATE, {"entity": entity}, None, 0)
        self.respond(packet, self.manager, words)

    def handle_begin(self, packet, fields, sender):
        """The client says what a probe would be answered; the record is for its next request."""
        key, segment = (fields["entity"], 0), Assembly(packet).segment
        record, host = self.records.get(key), self.peers[sender].host
        if fields["entity"] & 0xFFFFFFFF != sender or host is None or host != host_of(segment):
            return
        if record and not is_newer(fields["transaction"], record.number):
            return
        if not record or record.state in ("responded", "discarded"):
            if record:
                record.forget()
            record = self.records[key] = Record(self, key, None, fields["transaction"] - 1)
            record.principal = segment.decode()
            record.marks = fields["state"] >> 1
            record.discard(2 * Record.KEPT)
        begun = Packet(fields["entity"], fields["transaction"], MANAGERS, [0] * 8, packet.control)
        self.notify_client(begun, "retryAll")

    def handle_response(self, packet, sender):
        if packet.client == self.manager:
            return self.handle_probe_answer(packet, sender)
        transaction = self.current.get(packet.client)
        if transaction and packet.transaction == transaction.number:
            transaction.handle_response(packet, sender)
        elif packet.control & APG:
            self.notify_server(packet, 0, "responseDiscarded")

    def handle_probe_answer(self, packet, sender):
        entity, then = self.probes.get(packet.transaction, (0, None))
        if entity & 0xFFFFFFFF != sender or not Assembly(packet).is_complete:
            return
        answer = Answer("ProbeEntity", packet, Assembly(packet).segment)
        if answer.entity & 0xFFFFFFFF != sender:
            return
        if answer.code == REPLY_CODES["ok"]:
            peer, host = self.peers[sender], host_of(answer.segment)
            if host is None or peer.host not in (None, host):
                return
            if host == self.host:
                if answer.startedAt <= self.started_at:
                    sys.exit(f"another node has the name {host}")
                return
            self.learn_host(sender, peer, host, answer.startedAt)
        del self.probes[packet.transaction]
        if then:
            then(answer)

    def learn_host(self, kernel, peer, host, started_at):
        if peer.host:
            return
        peer.host, peer.started_at = host, started_at
        for other, old in self.peers.items():
            if other != kernel and old.host == host and old.started_at < started_at:
                self.replaced.add(other)

    def hosts(self):
        return sorted(peer.host for kernel, peer in self.peers.items()
                      if peer.host and kernel not in self.replaced)


# ---------------------------------------------------------------------------------------------
# Naming: this host's directory, and the claims of all hosts.

def hash_of(octets):                  # "Digest": FNV-1a, mixed
    return mix(fnv(octets))


def fnv(octets):
    value = 0xCBF29CE484222325
    for octet in octets:
        value = (value ^ octet) * 0x100000001B3 % (1 << 64)
    return value


def mix(value):
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        value ^= value >> 33
        value = value * factor % (1 << 64)
    return value ^ value >> 33


class Claim:
    def __init__(self, prefix, host, manager, context, clock, state=PRESENT):
        self.prefix, self.host, self.manager, self.context = prefix, host, manager, context
        self.clock, self.state = clock, state

    @property
    def order(self):
        return self.clock, self.host, self.manager

    @property
    def bucket(self):
        return hash_of(self.prefix.encode()) % 64

    def emit(self):
        rest = text(self.prefix) + text(self.host)
        return CLAIM.pack(CLAIM.size + len(rest), self.state, self.context, self.manager,
                          self.clock) + rest

    @classmethod
    def parse_all(cls, octets):
        claims = []
        while octets:
            size, state, context, manager, clock = CLAIM.unpack_from(octets)
            if not CLAIM.size < size <= len(octets):
                raise ValueError("a claim's length")
            prefix, rest = take_text(octets[CLAIM.size:size])
            host, _ = take_text(rest)
            claims.append(cls(prefix, host, manager, context, clock, state))
            octets = octets[size:]
        return claims


class Directory(Server):
    """Discriminator 3. It answers for names, and needs no record of whoever asks."""
    is_idempotent = True
    SPREADS_AFTER = (0, 0.2, 1, 4)

    def __init__(self, node):
        super().__init__(node, node.entity(3))
        self.claims, self.heard_digest, self.has_started = {}, None, False
        node.serve(self, NAME_HANDLERS)
        # VMTP, "ProbeEntity": a node sends its first datagrams after its last announcement.
        node.after(node.ANNOUNCEMENTS * node.BETWEEN_ANNOUNCEMENTS, self.start)

    def start(self):
        self.has_started = True
        self.ask_for_digests()
        for claim in list(self.claims.values()):
            self.put(claim)
        self.spread_digest_often()

    # Claims of this host.

    def claim(self, prefix, manager, context):
        clock = max([time.time_ns()] + [claim.clock + 1 for claim in self.claims.values()])
        self.put(Claim(prefix, self.node.host, manager, context, clock))

    def withdraw(self, prefix):
        old = self.claims[prefix]
        self.put(Claim(prefix, old.host, old.manager, old.context, max(
            time.time_ns(), old.clock + 1), WITHDRAWN))

    def put(self, claim):
        self.claims[claim.prefix] = claim
        for seconds in self.SPREADS_AFTER if self.has_started else ():
            self.node.after(seconds, lambda: self.spread([self.claims[claim.prefix]]))

    def mine(self):
        return [claim for claim in self.claims.values() if claim.host == self.node.host]

    def spread(self, claims, wants_answer=0):
        segment = b"".join(claim.emit() for claim in claims) or None
        self.node.send_datagram(self.entity, NAME_HANDLERS, "SpreadClaims", segment,
                                wantsAnswer=wants_answer)

    def ask_for_digests(self):
        if self.heard_digest is None:
            self.spread([], wants_answer=1)
            self.node.after(0.5, self.ask_for_digests)

    def spread_digest(self):
        segment = struct.pack(">64Q", *self.digest())
        for claim in self.mine():
            if len(segment) + len(claim.emit()) <= 1024:
                segment += claim.emit()
        self.node.send_datagram(self.entity, NAME_HANDLERS, "SpreadDigest", segment,
                                directory=self.entity)

    def spread_digest_often(self):
        self.spread_digest()
        self.node.after(30, self.spread_digest_often)

    def digest(self):
        buckets = [0] * 64
        for claim in self.claims.values():
            buckets[claim.bucket] += hash_of(claim.emit()[2:])
        return [bucket % (1 << 64) for bucket in buckets]

    # Claims of all hosts.

    def learn(self, claims):
        for claim in claims:
            known = self.claims.get(claim.prefix)
            if claim.host == self.node.host and not self.node.is_here(claim.manager):
                self.disown(claim)
            elif not known or claim.order > known.order:
                self.claims[claim.prefix] = claim

    def disown(self, claim):
        """A claim of this host's earlier boot: withdraw it, or claim again what is served."""
        known = self.claims.get(claim.prefix)
        if known and known.clock >= claim.clock:
            return
        clock, here = claim.clock + 1, known and self.node.is_here(known.manager)
        if here:
            self.put(Claim(claim.prefix, claim.host, known.manager, known.context, clock))
        elif claim.state == PRESENT or claim.state == AWAY:
            self.put(Claim(claim.prefix, claim.host, claim.manager, claim.context, clock,
                           WITHDRAWN))
        else:
            self.claims[claim.prefix] = claim

    def longest(self, name):
        """The claim of the longest prefix of the name."""
        parts = name.split("/")
        for count in range(len(parts), 0, -1):
            claim = self.claims.get("/".join(parts[:count]))
            if claim and claim.state == PRESENT:
                return claim
        return None

    # Operations.

    def QueryName(self, request):
        name = request.segment[:request.fields["name"]].decode("utf-8", "surrogateescape")
        claim = self.longest(name)
        if claim is None or not self.node.is_here(claim.manager):
            if request.through_group:
                return None
            raise Failure("notFound")
        return reply(request, manager=claim.manager, context=claim.context,
                     prefixBytes=len(claim.prefix.encode()), kind=CONTEXT)

    def SpreadClaims(self, request):
        self.learn(Claim.parse_all(request.segment))
        if request.wantsAnswer:
            self.node.after(0.05, self.spread_digest)

    def SpreadDigest(self, request):
        self.heard_digest = list(struct.unpack_from(">64Q", request.segment))
        self.learn(Claim.parse_all(request.segment[512:]))
        self.asked = request.directory

    def QueryClaims(self, request):
        found = b""
        wanted = [c for c in self.claims.values() if request.buckets >> c.bucket & 1]
        for index, claim in enumerate(wanted[request.start:], request.start):
            if len(found) + len(claim.emit()) > 16384:
                return reply(request, found, next=index)
            found += claim.emit()
        return reply(request, found, next=0)

    def lacks(self):
        """The buckets in which the digest that was heard last has something else."""
        ours, heard = self.digest(), self.heard_digest or [0] * 64
        return sum(1 << number for number in range(64) if heard[number] not in (0, ours[number]))

    def fetch(self):
        """QueryClaims, of the sender of that digest."""
        buckets, start, tries = self.lacks(), 0, 0
        while buckets and tries < 200:
            answer = self.node.call(self.asked, "QueryClaims", buckets=buckets, start=start)
            self.learn(Claim.parse_all(answer.segment))
            start, tries = answer.next, tries + 1
            if not start:
                break
        return self.digest() == self.heard_digest


# ---------------------------------------------------------------------------------------------
# Kernel servers: the node and the time server.

class NodeServer(Server):
    is_idempotent = True

    def __init__(self, node):
        super().__init__(node, node.entity(2))
        node.serve(self, NODES)

    def PingNode(self, request):
        return reply(request)

    def FindNode(self, request):
        if request.segment not in (b"", self.node.host.encode()):
            if request.through_group:
                return None
            raise Failure("notFound")
        return reply(request, self.node.host.encode(), server=self.entity,
                     wallClock=time.time_ns())

    def QueryNode(self, request):
        up = (time.time_ns() - self.node.started_at) // 1_000_000
        lines = f"host {self.node.host}\n"
        lines += f"kernel {ipaddress.IPv4Address(self.node.kernel)}\nsealing sealed\n"
        return reply(request, (lines + f"uptime_ms {up}\n").encode())

    def EchoSegment(self, request):
        return reply(request, bytes(min(request.answerBytes, 16384)))


class TimeServer(Server):
    is_idempotent = True

    def __init__(self, node):
        super().__init__(node, node.entity())
        node.serve(self, TIME_SERVERS)

    def GetTime(self, request):
        return reply(request, count=time.time_ns())


# ---------------------------------------------------------------------------------------------
# UIO: a manager of texts, in one context for each prefix.

def descriptor(kind, attributes, identity, size, permissions, context, name, next_position=0,
               owner=b"root", group=b"root"):
    now = time.time_ns()
    names = owner + group + name
    length = DESCRIPTOR.size + len(names) + -len(names) % 8
    return DESCRIPTOR.pack(
        length, kind, attributes, *identity, size, 0, now, now, now, now, permissions, 1, context,
        0, next_position, 4096, len(owner), len(group), len(name)
    ) + names + bytes(-len(names) % 8)


def parse_descriptor(octets):
    fields = DESCRIPTOR.unpack_from(octets)
    length, kind, attributes = fields[:3]
    size, permissions, context, next_position = fields[6], fields[12], fields[14], fields[16]
    owner, group, name = fields[18:21]
    if not 128 + owner + group + name <= length <= len(octets):
        raise ValueError("a descriptor's length")
    start = 128 + owner + group
    return {"length": length, "kind": kind, "attributes": attributes, "size": size,
            "permissions": permissions, "context": context, "nextPosition": next_position,
            "owner": octets[128:128 + owner].decode(), "name": octets[start:start + name]}


class TextManager(Server):
    """Texts of functions, below prefixes. A text is made when it is opened."""

    def __init__(self, node, directory):
        super().__init__(node, node.entity())
        self.contexts, self.instances = {}, {}      # number: {name: function}
        self.inodes, self.QueryName = {}, directory.QueryName
        node.serve(self)

    def add(self, texts):
        context = secrets.randbits(63)
        self.contexts[context] = texts
        return context

    def number_of(self, *object):
        return self.inodes.setdefault(object, len(self.inodes) + 1)

    def describe(self, context, name, size=None, position=0):
        identity = self.node.kernel, self.number_of(context, name), self.node.started_at
        if not name:
            return descriptor(CONTEXT, 1, identity, 0, 0o555, context, b"", position)
        if size is None:
            size = len(self.contexts[context][name]())
        granted = context + self.number_of(context, name)
        return descriptor(FILE, TEXT, identity, size, 0o444, granted, name, position)

    def find(self, request):
        """The context and the name below it that a request means: Naming, "Name fields"."""
        count, index = request.fields["name"], request.index
        if index > count or count > len(request.segment):
            raise Failure("badArguments")
        rest = request.segment[index:count].lstrip(b"/")
        for context, texts in self.contexts.items():
            if request.context == context:
                first, slash, more = rest.partition(b"/")
                if first in texts and slash:
                    raise Failure("notContext")
                if first and first not in texts:
                    raise Failure("notFound")
                return context, first
            for name in texts:
                if request.context == context + self.number_of(context, name):
                    return context, name
        raise Failure("invalidContext")

    def QueryObject(self, request):
        return reply(request, self.describe(*self.find(request)))

    def CheckAccess(self, request):
        self.find(request)
        if request.mask > 7:
            raise Failure("badArguments")
        if request.mask & 2:
            raise Failure("noPermission")
        return reply(request)

    def QueryStore(self, request):
        return reply(request, struct.pack(">8Q", 4096, 0, 0, 0, 0, 0, 0, 255))

    def CreateInstance(self, request):
        context, name = self.find(request)
        if request.mode & WRITE or not request.mode & (READ | DIRECTORY):
            raise Failure("noPermission" if request.mode & WRITE else "modeNotSupported")
        if name and request.mode & DIRECTORY:
            raise Failure("notContext")
        if not name and not request.mode & DIRECTORY:
            raise Failure("isContext")
        octets = self.contexts[context][name]() if name else None
        instance = secrets.randbits(63)
        self.instances[instance] = request.principal, request.marks, context, name, octets
        size = len(octets) if name else 0
        return reply(request, self.describe(context, name, size), instance=instance,
                     attributes=TEXT if name else READ)

    def instance(self, request):
        found = self.instances.get(request.instance)
        if not found:
            raise Failure("invalidFileID")
        if found[:2] != (request.principal, request.marks):
            raise Failure("noPermission")
        return found[2:]

    def QueryInstance(self, request):
        context, name, octets = self.instance(request)
        return reply(request, self.describe(context, name, len(octets) if name else 0))

    def ReadInstance(self, request):
        context, name, octets = self.instance(request)
        count = min(request.count, 16384)
        if name:
            return reply(request, octets[request.position:request.position + count])
        names, records = list(self.contexts[context]), b""
        for index in range(request.position, len(names)):
            record = self.describe(context, names[index], position=index + 1)
            if len(records) + len(record) > count:
                break
            records += record
        return reply(request, records)

    def ReleaseInstance(self, request):
        if request.instance in self.instances:
            self.instance(request)
            del self.instances[request.instance]
        return reply(request)


# ---------------------------------------------------------------------------------------------
# Groups: the entity of a name, a member, and this host's group server.

def group_entity(name):               # "Overview"
    value = fnv(name.encode())
    entity = 0b0110 << 60 | 1 << 59 | value & (1 << 59) - 1
    return entity ^ 1 if entity & 0xFFFFFFFF == 0xE0000100 else entity


class Member(Server):
    """A process that has joined a group. It keeps what it is told."""

    def __init__(self, node, group, name):
        super().__init__(node, node.entity())
        self.name, self.messages = name, []
        node.serve(self, group_entity(group))

    def GroupMessage(self, request):
        sender, words = take_text(request.segment)
        if len(words) > 700 or re.search("[\0-\x08\n-\x1f\x7f-\x9f]", words.decode()):
            raise Failure("badArguments")     # so is what is no UTF-8
        if request.marks & FULL_ROOT == 0 or request.principal.split("@")[0] != "root":
            sender = request.principal
        self.messages.append({"from": sender, "text": words.decode()})
        return reply(request, text(self.name) + b"taken", outcome=0)


class GroupServer(Server):
    def __init__(self, node):
        super().__init__(node, node.entity())
        self.groups = {}              # name: madeAt, permissions, owner, {member: owner}
        node.serve(self, GROUP_SERVERS)

    def QueryGroup(self, request):
        name = request.segment.decode("utf-8", "replace")
        by_server = request.marks & FULL_ROOT and request.principal.startswith("root@")
        if not name:
            texts = [self.node.host, ""] + [t for group in self.groups for t in (group, "", "")]
            return reply(request, b"".join(map(text, texts)))
        if name not in self.groups:
            raise Failure("notFound", self.node.host if by_server else "")
        made_at, permissions, owner, members = self.groups[name]
        if not by_server and not permissions & 1:
            raise Failure("noPermission")
        texts = [self.node.host, owner]
        for member, user in members.items():
            texts += [member, user, ""]               # it is no program
        return reply(request, b"".join(map(text, texts)), madeAt=made_at, permissions=permissions)

    def ChangeGroup(self, request):
        group, host, member, owner = take_texts(request.segment)
        if host != self.node.host:
            return None
        raise Failure("noPermission", f"{host} changes its groups by its own command")

    def ask(self, name, seconds=1.0):
        """What the group servers of all hosts have on a group."""
        found = self.node.transact(GROUP_SERVERS, "QueryGroup", name.encode(), flags=MRD,
                                   user="root", marks=FULL_ROOT, limit=seconds)
        return [answer for answer in found if answer.code == 0]

    def make(self, group, owner):
        self.groups[group] = time.time_ns(), 0o755, owner, {}

    def join(self, group, owner):
        answers = self.ask(group)
        if not answers:
            raise Failure("notFound", group)
        earliest = min(answers, key=lambda answer: answer.madeAt)
        group_owner = take_texts(earliest.segment)[1]
        name = f"{self.node.host}:{owner}"
        self.groups[group] = earliest.madeAt, earliest.permissions, group_owner, {name: owner}
        return Member(self.node, group, name)


# ---------------------------------------------------------------------------------------------
# Clients of other hosts' servers.

def find_manager(node, name, seconds=2.0):            # Naming, QueryName
    octets = name.encode()
    answer = node.call(NAME_HANDLERS, "QueryName", octets, name=len(octets), limit=seconds)
    return answer.manager, {"context": answer.context, "index": answer.prefixBytes,
                            "name": len(octets)}


class Instance:                       # UIO, "Overview"
    def __init__(self, node, name, mode):
        self.node = node
        self.manager, fields = find_manager(node, name)
        opened = node.call(self.manager, "CreateInstance", name.encode(), mode=mode, **fields)
        self.number, self.descriptor = opened.instance, parse_descriptor(opened.segment)

    def read(self, position=0, count=16384, limit=10):
        return self.node.call(self.manager, "ReadInstance", instance=self.number, count=count,
                              position=position, limit=limit).segment

    def write(self, octets, position=0):
        return self.node.call(self.manager, "WriteInstance", octets, instance=self.number,
                              position=position).count

    def release(self):
        self.node.call(self.manager, "ReleaseInstance", instance=self.number)


def read_all(node, name, is_stream=False):
    instance, octets = Instance(node, name, READ), b""
    while True:
        data = instance.read(len(octets) if not is_stream else 1 << 63 | len(octets))
        octets += data
        if not data:
            instance.release()
            return octets


def write_file(node, name, octets):
    create, truncate = 8, 32
    manager, fields = find_manager(node, name)
    opened = node.call(manager, "CreateInstance", name.encode(), permissions=0o644,
                       mode=WRITE | create | truncate, **fields)
    position = 0
    while position < len(octets):
        position += node.call(manager, "WriteInstance", octets[position:position + 16384],
                              instance=opened.instance, position=position).count
    node.call(manager, "ReleaseInstance", instance=opened.instance)
    return position


def list_names(node, name):
    instance, position, names = Instance(node, name, DIRECTORY), 0, []
    while True:
        records = instance.read(position)
        if not records:
            instance.release()
            return names
        while records:
            record = parse_descriptor(records)
            names.append(record["name"].decode())
            position, records = record["nextPosition"], records[record["length"]:]


def run_program(node, host, command):                 # Teams, "new"
    new = Instance(node, f"team/{host}/new", READ | WRITE)
    new.write(command.encode())
    program = f"team/{host}/" + new.read().decode().strip()
    output = read_all(node, program + "/out", is_stream=True)
    errors = read_all(node, program + "/err", is_stream=True)
    status = Instance(node, program + "/wait", READ).read().decode().strip()
    new.release()
    return {"program": program, "out": output.decode(), "err": errors.decode(), "status": status}


def send_to_group(node, group, words, seconds=1.0):   # Groups, GroupMessage
    segment = text(f"ann@{node.host}") + words.encode()
    found = {}
    for answer in node.transact(group_entity(group), "GroupMessage", segment, flags=MRD,
                                limit=seconds):
        member, said = take_text(answer.check().segment)
        outcome = CODE_NAMES.get(answer.outcome, hex(answer.outcome))
        found[member] = f"{outcome} {said.decode()}".strip()
    return found


# ---------------------------------------------------------------------------------------------
# The program: a command a line, an answer a line.

class Program:
    def __init__(self, node):
        self.node, self.member = node, None
        self.directory, self.node_server = Directory(node), NodeServer(node)
        self.times, self.texts = TimeServer(node), TextManager(node, self.directory)
        self.groups = GroupServer(node)
        self.claim(f"host/{node.host}", {b"time": self.clock})

    def clock(self):
        now = time.time_ns()
        return b"%d.%09d\n" % (now // 10 ** 9, now % 10 ** 9)

    def claim(self, prefix, texts):
        self.directory.claim(prefix, self.texts.entity, self.texts.add(texts))

    def do_hosts(self, count):
        """The other hosts, as soon as there are so many, or after 10 s."""
        self.node.wait(lambda: len(self.node.hosts()) >= int(count), 10)
        return self.node.hosts()

    def do_read(self, name):
        return read_all(self.node, name).decode("utf-8", "replace")

    def do_sum(self, name):
        return hashlib.sha256(read_all(self.node, name)).hexdigest()

    def do_write(self, name, count, filler="v for linux\n"):
        octets = (filler * (int(count) // len(filler) + 1)).encode()[:int(count)]
        write_file(self.node, name, octets)
        return hashlib.sha256(octets).hexdigest()

    def do_list(self, name):
        return list_names(self.node, name)

    def do_serve(self, prefix):
        self.claim(prefix, {b"clock": self.clock})
        return prefix

    def do_withdraw(self, prefix):
        self.directory.withdraw(prefix)
        return prefix

    def do_digest(self):
        """Whether this directory and another one have the same table."""
        end, directory = time.monotonic() + 10, self.directory
        while time.monotonic() < end:
            directory.heard_digest = None
            directory.ask_for_digests()
            if self.node.wait(lambda: directory.heard_digest, 2) and directory.fetch():
                return True
        return False

    def do_run(self, host, command):
        return run_program(self.node, host, command)

    def do_select(self):
        found = self.node.transact(0x40000015E0000100, "SelectHost", b"", flags=MRD, limit=0.5,
                                   programClass=1)
        return sorted(answer.check().segment.decode() for answer in found)

    def do_time(self, host):
        kernel = next(k for k, peer in self.node.peers.items() if peer.host == host)
        return self.node.call(TIME_SERVERS, "GetTime", flags=CRE, near=1 << 32 | kernel).count

    def do_make(self, group):
        self.groups.make(group, "ann")
        return group

    def do_join(self, group):
        self.member = self.groups.join(group, "ann")
        return self.member.name

    def do_messages(self):
        return self.member.messages

    def do_send(self, group, words):
        return send_to_group(self.node, group, words)

    def handle(self, line):
        command, *arguments = shlex.split(line)
        try:
            return {"value": getattr(self, "do_" + command)(*arguments)}
        except Failure as failure:
            return {"failure": str(failure)}

    def loop(self):
        pending = b""
        while True:
            if not self.node.pump(1, [sys.stdin.fileno()]):
                if self.directory.lacks():
                    self.directory.fetch()
                    self.directory.heard_digest = None
                continue
            octets = os.read(sys.stdin.fileno(), 65536)
            if not octets:
                return
            *lines, pending = (pending + octets).split(b"\n")
            for line in filter(None, lines):
                print(json.dumps(self.handle(line.decode())), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="the name of the node's host")
    parser.add_argument("--address", required=True, help="its IPv4 address")
    parser.add_argument("--key", required=True, help="the file with the cluster's key")
    options = parser.parse_args()
    with open(options.key, "rb") as file:
        node = Node(options.host, options.address, file.read())
    Program(node).loop()


if __name__ == "__main__":
    main()
