/// Why some octets from outside are not V.
///
/// A packet that raises one is counted by kind and dropped; nobody is answered, except where
/// RFC 1045 4.7 asks for VMTP_ERROR. A message that raises one is answered with `badArguments`.
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
  /// PacketDelivery names blocks that the segment does not have, or their octets disagree.
  case badDelivery
  /// A reserved or unknown value in a named field.
  case badField(StaticField)
  /// A sealed packet that no key of ours opens.
  case badSeal
  /// A packet sealed for this kernel alone, by one of which nothing has been opened yet that was
  /// sealed for all.
  case unknownSender
  /// A packet whose key is not derived yet, and too many keys were within the last second.
  case tooManyKeys
  /// A multicast of this very kernel, looped back: no fault, only not for us.
  case ownMulticast
  /// A sealed packet whose number was seen before, or is too old to tell.
  case replayed
  /// A clear packet where packets are sealed, or the other way round.
  case unexpectedSealing

  /// Fields that have values without meaning.
  public enum StaticField: Sendable {
    case descriptorKind, descriptorLength, name, operation, utf8, claim, lock
  }
}
