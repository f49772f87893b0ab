/// One name, or one component of a name: octets, compared as octets.
///
/// It is never a `String`, which treats two encodings of one character as equal: two names would
/// collide, and some could not be looked up.
public struct Name: Hashable, Sendable, ExpressibleByStringLiteral {
  public var octets: [UInt8]

  public init(_ octets: some Sequence<UInt8>) { self.octets = Array(octets) }
  public init(_ text: some StringProtocol) { octets = Array(text.utf8) }
  public init(stringLiteral text: StaticString) {
    octets = text.withUTF8Buffer { unsafe Array($0) }
  }

  public var isEmpty: Bool { octets.isEmpty }
  /// A number for the name, the same on every host and in every boot: FNV-1a, 64 bits.
  public var stableHash: UInt64 {
    octets.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
  }
  /// The name as text; nil if it is not UTF-8.
  public var text: String? { String(validating: octets, as: UTF8.self) }
}

extension Name: Comparable {
  public static func < (left: Name, right: Name) -> Bool {
    left.octets.lexicographicallyPrecedes(right.octets)
  }
}

extension Name: CustomStringConvertible {
  /// For people: octets that are not UTF-8 are replaced.
  public var description: String { String(decoding: octets, as: UTF8.self) }
}
