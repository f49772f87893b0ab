package import VProtocol

/// A frame as packets: one packet, or pieces.
///
/// A piece is an octet of version, one for a kind that no frame has, one that tells whether more
/// follows, and octets of the frame.
extension KeeperFrame {
  /// The limit of a packet: Linux allocates memory for it as a whole.
  package static let packetBytesMax = 131_072
  private static let pieceBytesMax = packetBytesMax - 3

  package var packets: [[UInt8]] {
    let octets = octets
    guard octets.count > Self.packetBytesMax else { return [octets] }
    return stride(from: 0, to: octets.count, by: Self.pieceBytesMax).map { start in
      let end = min(start + Self.pieceBytesMax, octets.count)
      return [Self.version, Self.pieceKind, end < octets.count ? 1 : 0] + octets[start..<end]
    }
  }
}

/// Makes frames of packets.
package struct FrameAssembly: Sendable {
  /// The pieces of an incomplete frame.
  private var gathered: [UInt8] = []

  package init() {}

  /// The frame that this packet completes; nil if more packets must come.
  package mutating func take(_ packet: [UInt8]) throws(WireError) -> KeeperFrame? {
    guard packet.count > 3, packet[0] == KeeperFrame.version, packet[1] == KeeperFrame.pieceKind
    else {
      guard gathered.isEmpty else { throw .badLength }
      return try KeeperFrame(parsing: packet)
    }
    guard packet[2] <= 1, gathered.count + packet.count - 3 <= KeeperFrame.byteCountMax else {
      throw .badLength
    }
    gathered += packet[3...]
    if packet[2] == 1 { return nil }
    defer { gathered = [] }
    return try KeeperFrame(parsing: gathered)
  }
}
