public import VProtocol

/// Where packets go.
public enum Destination: Equatable, Sendable {
  /// One kernel, at its locator.
  case peer(KernelID, Locator)
  /// All kernels that listen to a group's address.
  case group(EntityID)
  /// One place that gets a copy of what goes to a group.
  case copy(Locator)
}

/// A packet group, or a part of one, to be sent.
///
/// The kernel decides what to send; `emitPacket` lays out the octets afterwards, outside the
/// kernel's lock. The segment is shared with its transaction, not copied.
public struct Transmission: Sendable {
  public var destination: Destination
  public var header: PacketHeader
  public var segment: [UInt8]
  /// The blocks to send; empty sends the header alone.
  public var mask: DeliveryMask
  /// Where the same packets go besides, if they go to a group.
  public var copies: [Locator] = []

  /// Sends `mask` of `segment`, or all that the message says is sent.
  public init(
    to destination: Destination, _ header: PacketHeader, segment: [UInt8] = [],
    mask: DeliveryMask? = nil
  ) {
    self.destination = destination
    self.header = header
    self.segment = segment
    self.mask = mask ?? header.mcb.sentBlocks(segmentBytes: segment.count)
    if case .group = destination { self.header.packetFlags.insert(.multicast) }
  }

  /// Blocks of 512 octets in one packet: whole on every path from 1,280 to 1,500 octets, in
  /// fragments on a narrower one.
  public static let blocksPerPacket = 2
  /// The largest packet: header, two blocks, the longer trailer.
  public static let packetBytesMax =
    PacketHeader.byteCount + blocksPerPacket * DeliveryMask.blockBytes
    + SealedPacket.trailerBytes
  /// Packets in a whole group of 16 KB.
  public static let packetsMax = DeliveryMask.blocksMax / blocksPerPacket

  /// Lays out the next packet of the group without its trailer and returns its size.
  ///
  /// `remaining` starts as `mask` and is empty after the last packet. All packets but the last
  /// have the same size, so that the group can leave in one segmented send.
  public func emitPacket(
    _ remaining: inout DeliveryMask, into packet: inout MutableRawSpan,
    version: UInt8 = PacketHeader.version
  ) -> Int {
    var header = header
    header.delivery = remaining.lowest(Self.blocksPerPacket)
    remaining = remaining.subtracting(header.delivery)
    var end = PacketHeader.byteCount
    unsafe segment.withUnsafeBytes { source in
      header.delivery.forEachBlock(segmentBytes: source.count) { block in
        unsafe packet.withUnsafeMutableBytes { target in
          unsafe target.baseAddress!.advanced(by: end)
            .copyMemory(from: source.baseAddress! + block.lowerBound, byteCount: block.count)
        }
        end += block.count
      }
    }
    while end % 8 != 0 {
      packet.storeBytes(of: 0, toByteOffset: end, as: UInt8.self)
      end += 1
    }
    header.dataWords = (end - PacketHeader.byteCount) / 4
    header.emit(into: &packet, version: version)
    return end
  }
}
