"""Seals a clear packet of a fixture, independently of V's own code.

  python3 seal.py FILE.hex NUMBER SENDER RECEIVER COMMENT > SEALED.hex

NUMBER, SENDER and RECEIVER are hexadecimal; RECEIVER `multicast` uses the multicast key. The
cluster key is the 32 octets 00 01 ... 1f. Needs the package `cryptography`.
"""

import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CLUSTER_KEY = bytes(range(32))


def seal(packet: bytes, number: int, sender: int, receiver: int | None) -> bytes:
  """`packet` is a clear packet with its checksum."""
  body = bytearray(packet[:-4])
  body[10] |= 0x40  # EPG
  info = b"v multicast"
  if receiver is not None:
    info = b"v unicast" + sender.to_bytes(4, "big") + receiver.to_bytes(4, "big")
  derived = HKDF(SHA256(), 28, b"v cluster key", info).derive(CLUSTER_KEY)
  trailer = sender.to_bytes(4, "big") + number.to_bytes(8, "big")
  nonce = bytes(a ^ b for a, b in zip(derived[16:], trailer))
  sealed = AESGCM(derived[:16]).encrypt(nonce, bytes(body[12:]), bytes(body[:12]) + trailer)
  return bytes(body[:12]) + sealed[:-16] + trailer + sealed[-16:]


def main(path: str, number: str, sender: str, receiver: str, comment: str) -> None:
  with open(path, encoding="ascii") as file:
    packet = bytes.fromhex("".join(line for line in file if not line.startswith("#")))
  target = None if receiver == "multicast" else int(receiver, 16)
  sealed = seal(packet, int(number, 16), int(sender, 16), target)
  print("#", comment)
  print(sealed[:8].hex(), sealed[8:12].hex())
  for start in range(12, len(sealed) - 28, 32):
    print(sealed[start : min(start + 32, len(sealed) - 28)].hex())
  print(sealed[-28:-24].hex(), sealed[-24:-16].hex(), sealed[-16:].hex())


if __name__ == "__main__":
  main(*sys.argv[1:])
