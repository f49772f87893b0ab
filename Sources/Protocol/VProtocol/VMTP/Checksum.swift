/// VMTP's checksum: two one's-complement sums over alternate clusters of 16 16-bit words.
///
/// A sum of 0 is sent as 0xFFFF; the sums are not complemented. Four zero octets mean that there is
/// none. RFC 1045 3.6. It does not detect swapped words of one cluster: a known weakness.
public enum Checksum {
  public static let byteCount = 4

  /// The checksum of the first `count` octets of `packet`; `count` is even.
  public static func of(_ packet: RawSpan, count: Int) -> UInt32 {
    var sums: (odd: UInt64, even: UInt64) = (0, 0)
    var offset = 0
    while offset + 1 < count {
      let word = UInt64(packet.bigEndian(at: offset, as: UInt16.self))
      if offset / clusterBytes % 2 == 0 { sums.odd += word } else { sums.even += word }
      offset += 2
    }
    return UInt32(fold(sums.odd)) << 16 | UInt32(fold(sums.even))
  }

  /// Whether the four octets at `count` are the checksum of the octets before them, or zero.
  public static func isSound(_ packet: RawSpan, count: Int) -> Bool {
    let sent = packet.bigEndian(at: count, as: UInt32.self)
    if sent == 0 { return true }
    let headerOnly = PacketFlags(ofPacket: packet).contains(.headerChecksumOnly)
    return sent == of(packet, count: headerOnly ? PacketHeader.byteCount : count)
  }

  private static func fold(_ sum: UInt64) -> UInt16 {
    var value = sum
    while value > 0xFFFF { value = value & 0xFFFF + value >> 16 }
    return value == 0 ? 0xFFFF : UInt16(value)
  }

  private static let clusterBytes = 32
}
