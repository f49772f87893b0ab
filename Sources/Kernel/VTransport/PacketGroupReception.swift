public import VProtocol

/// A packet group that is being received: which blocks have arrived, and their octets.
///
/// Order does not matter and a block counts once. RFC 1045 4.
public struct PacketGroupReception: Sendable {
  /// The first packet's header; every packet of a group repeats it.
  public let header: PacketHeader
  public private(set) var received: DeliveryMask = []
  private var segment: [UInt8]

  /// Starts with the header of any packet of the group, without its data.
  public init(_ header: PacketHeader) {
    self.header = header
    segment = [UInt8](repeating: 0, count: header.mcb.segmentSize)
  }

  /// The blocks of the whole group.
  public var expected: DeliveryMask { header.mcb.sentBlocks(segmentBytes: segment.count) }
  public var isComplete: Bool { received.contains(expected) }

  /// Whether a later block has arrived and an earlier one has not: loss rather than delay.
  public var hasHole: Bool {
    let missing = expected.subtracting(received).rawValue
    return missing != 0 && received.rawValue >> UInt32(missing.trailingZeroBitCount) != 0
  }

  /// Takes the new blocks of one packet; false if it does not belong to this group.
  ///
  /// `packet` is the whole packet, whose header has been parsed as `header`.
  public mutating func accept(_ header: PacketHeader, _ packet: RawSpan) -> Bool {
    guard header.mcb == self.header.mcb, header.server == self.header.server else { return false }
    var offset = PacketHeader.byteCount
    let new = header.delivery.subtracting(received)
    let count = segment.count
    unsafe segment.withUnsafeMutableBytes { target in
      header.delivery.forEachBlock(segmentBytes: count) { block in
        let bit = DeliveryMask(rawValue: 1 << UInt32(block.lowerBound / DeliveryMask.blockBytes))
        if new.contains(bit) {
          unsafe packet.extracting(offset..<(offset + block.count)).withUnsafeBytes { source in
            unsafe target.baseAddress!.advanced(by: block.lowerBound)
              .copyMemory(from: source.baseAddress!, byteCount: block.count)
          }
        }
        offset += block.count
      }
    }
    received = received.union(header.delivery)
    return true
  }

  /// Whether a part of it is of use (MDM).
  public var isUsefulInPart: Bool { header.mcb.delivery != nil }

  /// The message: whole, or, with MDM, with a mask of the blocks that have arrived; the others are
  /// zero.
  public consuming func message() -> Message {
    precondition(isComplete || isUsefulInPart, "without a mask, a message is delivered whole")
    var mcb = header.mcb
    // Without a segment it is the mask of the blocks that a client wants.
    if isUsefulInPart && !segment.isEmpty { mcb.delivery = received }
    return Message(mcb, segment: segment)
  }
}
