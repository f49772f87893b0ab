/// Bits 16 to 18 of word 2, about the whole packet.
///
/// RFC 1045 3.2.
public struct PacketFlags: OptionSet, Sendable {
  public var rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// HCO: the checksum covers the header only.
  public static let headerChecksumOnly = PacketFlags(rawValue: 4)
  /// EPG: octets from 12 on are encrypted.
  public static let encrypted = PacketFlags(rawValue: 2)
  /// MPG: sent to a group address.
  public static let multicast = PacketFlags(rawValue: 1)

  /// The flags of a packet of at least 12 octets, sealed or not: they are never encrypted.
  public init(ofPacket packet: RawSpan) {
    self.init(rawValue: UInt8(packet.bigEndian(at: 8, as: UInt32.self) >> 13 & 7))
  }

  /// Adds these flags to a finished packet.
  public func insert(into packet: inout MutableRawSpan) {
    let word2 = packet.bytes.bigEndian(at: 8, as: UInt32.self)
    packet.storeBigEndian(word2 | UInt32(rawValue) << 13, at: 8)
  }
}

/// Bits 0 to 8 of word 3, about the handling of a packet group.
///
/// RFC 1045 3.3.
public struct ControlFlags: OptionSet, Sendable {
  public var rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// NRS: nothing from others came between (not used by us, kept as read).
  public static let nextReceiveSequence = ControlFlags(rawValue: 0x100)
  /// APG: acknowledge this packet group as soon as it is complete.
  public static let acknowledge = ControlFlags(rawValue: 0x80)
  /// NSR: not the first packet group of a run.
  public static let notStartOfRun = ControlFlags(rawValue: 0x40)
  /// NER: not the last packet group of a run.
  public static let notEndOfRun = ControlFlags(rawValue: 0x20)
  /// NRT: deliver or drop, never ask for retransmission.
  public static let noRetransmission = ControlFlags(rawValue: 0x10)
  /// MDG: sent to a group of which the client is a member.
  public static let memberOfGroup = ControlFlags(rawValue: 0x08)
  /// CMG: the message goes on in the next packet group.
  public static let continued = ControlFlags(rawValue: 0x04)
  /// STI: the next transaction is 256 further on.
  public static let skipIDs = ControlFlags(rawValue: 0x02)
  /// DRT: responders wait a short random time.
  public static let delayResponse = ControlFlags(rawValue: 0x01)
}

/// The two kinds of VMTP packet.
public enum PacketFunction: UInt8, Sendable {
  case request = 0
  case response = 1
}

/// The blocks of a segment, bit i (least significant first) for octets 512 i to 512 i + 511.
public struct DeliveryMask: OptionSet, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// All blocks of a segment of `segmentBytes` octets, 0 to 16,384.
  public init(segmentBytes: Int) {
    precondition(
      segmentBytes >= 0 && segmentBytes <= Self.blocksMax * Self.blockBytes,
      "a segment has at most 32 blocks")
    let blocks = (segmentBytes + Self.blockBytes - 1) / Self.blockBytes
    rawValue = blocks == Self.blocksMax ? .max : (1 << blocks) - 1
  }

  public static let blockBytes = 512
  public static let blocksMax = 32

  public var blockCount: Int { rawValue.nonzeroBitCount }

  /// The lowest `count` blocks of this mask.
  public func lowest(_ count: Int) -> DeliveryMask {
    var left = rawValue
    var taken: UInt32 = 0
    for _ in 0..<count where left != 0 {
      let bit = left & (~left &+ 1)
      taken |= bit
      left &= ~bit
    }
    return DeliveryMask(rawValue: taken)
  }

  /// Calls `body` with the octets of each block of this mask inside a segment of
  /// `segmentBytes`, ascending; a short last block yields a short range.
  public func forEachBlock(segmentBytes: Int, _ body: (Range<Int>) -> Void) {
    var left = rawValue
    while left != 0 {
      let start = left.trailingZeroBitCount * Self.blockBytes
      left &= left - 1
      guard start < segmentBytes else { return }
      body(start..<min(start + Self.blockBytes, segmentBytes))
    }
  }

  /// The octets of the blocks of this mask in a segment of `segmentBytes`.
  public func octets(segmentBytes: Int) -> Int {
    var total = 0
    forEachBlock(segmentBytes: segmentBytes) { total += $0.count }
    return total
  }
}
