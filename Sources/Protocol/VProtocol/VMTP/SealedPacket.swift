/// Where the parts of a sealed packet are: EPG set, an AEAD in place of DES.
///
/// ```
/// 0   client, word 2                            clear, associated data
/// 12  control ... message, segment, padding     encrypted
/// n   sender's kernel id 4 | packet number 8    clear, associated data
/// n + 12  tag 16
/// ```
/// The kernel id is needed because Client does not name the sender of a response to a group or a
/// forwarded request. Size: 92 + 4 Length. Nonce: (kernel id, packet number) XOR a derived value.
public enum SealedPacket {
  /// Octets that stay readable at the front.
  public static let clearBytes = 12
  public static let trailerBytes = 28

  /// The clear parts of the trailer.
  public struct Trailer: Equatable, Sendable {
    public var sender: KernelID
    public var number: UInt64

    public init(sender: KernelID, number: UInt64) {
      self.sender = sender
      self.number = number
    }

    /// Reads the trailer of a packet that is at least as long as the smallest sealed one.
    public init(parsing packet: RawSpan) throws(WireError) {
      let smallest = PacketHeader.byteCount + SealedPacket.trailerBytes
      guard packet.byteCount >= smallest else {
        throw .truncated(needed: smallest, found: packet.byteCount)
      }
      let start = packet.byteCount - SealedPacket.trailerBytes
      sender = KernelID(packet.bigEndian(at: start))
      number = packet.bigEndian(at: start + 4)
    }

    /// Writes the 12 clear octets at `offset`.
    public func emit(into packet: inout MutableRawSpan, at offset: Int) {
      packet.storeBigEndian(sender.rawValue, at: offset)
      packet.storeBigEndian(number, at: offset + 4)
    }
  }

  /// Whether the clear part marks the rest as encrypted.
  public static func isSealed(_ packet: RawSpan) -> Bool {
    packet.byteCount >= clearBytes && PacketFlags(ofPacket: packet).contains(.encrypted)
  }

  /// Whether the clear part marks the packet as a multicast.
  public static func isMulticast(_ packet: RawSpan) -> Bool {
    packet.byteCount >= clearBytes && PacketFlags(ofPacket: packet).contains(.multicast)
  }
}
