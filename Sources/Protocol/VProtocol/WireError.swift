/// Why octets from outside are not V.
///
/// A packet with one is counted by kind and dropped without an answer, except where RFC 1045 4.7
/// asks for VMTP_ERROR. A message with one is answered with `badArguments`.
public enum WireError: Error, Equatable, Sendable {
  /// Fewer octets than the format needs.
  case truncated(needed: Int, found: Int)
  /// The size of the packet and its Length field disagree, or Length is odd or too large.
  case badLength
  /// Another version of the protocol.
  case badVersion(UInt8)
  /// A naming domain that is not ours.
  case badDomain(UInt16)
  /// The all-zero entity identifier, which is never allocated.
  case invalidEntity
  /// The two checksum words do not match the packet.
  case badChecksum
  /// PacketDelivery has blocks that the segment does not have, or their octets disagree.
  case badDelivery
  /// A reserved or unknown value in a named field.
  case badField(StaticField)
  /// A sealed packet that none of our keys opens.
  case badSeal
  /// A packet sealed for this kernel alone, by a kernel from which no multicast has been opened
  /// yet.
  case unknownSender
  /// A packet whose key is not derived yet, when too many keys were derived in the last second.
  case tooManyKeys
  /// This kernel's own multicast, looped back: not an error, but ignored.
  case ownMulticast
  /// A sealed packet whose number was seen before, or is too old to check.
  case replayed
  /// A clear packet where packets are sealed, or the other way round.
  case unexpectedSealing

  /// The fields that a `badField` may be about.
  public enum StaticField: Sendable {
    case descriptorKind, descriptorLength, name, operation, utf8, claim, lock
  }
}
