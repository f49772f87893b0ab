package import VProtocol

/// A frame as packets: itself, or pieces of it.
///
/// A piece is an octet of version, one that no kind has, one that says whether more follows, and
/// octets of the frame.
extension KeeperFrame {
  /// Octets of a packet: Linux gives memory for one as a whole.
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
  /// The pieces of a frame that is not whole.
  private var gathered: [UInt8] = []

  package init() {}

  /// The frame that a packet ends; nil where more of it has to come.
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
