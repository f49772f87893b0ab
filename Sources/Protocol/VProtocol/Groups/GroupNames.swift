/// The octets that names of groups and of their members may have.
///
/// Octets beyond ASCII are free, UTF-8 or not. An octet that would end a line or a word, or that a
/// shell treats as special, is refused, so that every line with a name can be parsed.
/// name can be read again.
extension Name {
  /// 200 names of one group server fit into one answer.
  public static let groupBytesMax = 64
  /// A host, a number, and a program of 32 octets; 64 members fit into one answer.
  public static let memberBytesMax = 120

  /// Whether a group may have this name: 1 to 64 octets, no blank, no control, neither colon nor
  /// slash, and no dot in front.
  public var isGroupName: Bool {
    1...Self.groupBytesMax ~= octets.count && octets[0] != UInt8(ascii: ".")
      && octets.allSatisfy { Self.isPlain($0) && $0 != UInt8(ascii: " ") }
  }

  /// Whether a member may be called so on its own host: as a group, but blanks may be inside.
  public var isMemberName: Bool {
    guard let first = octets.first, let last = octets.last,
      octets.count <= Self.memberBytesMax
    else { return false }
    return first != UInt8(ascii: ".") && first != UInt8(ascii: " ") && last != UInt8(ascii: " ")
      && octets.allSatisfy(Self.isPlain)
  }

  private static func isPlain(_ octet: UInt8) -> Bool {
    octet >= 0x20 && octet != 0x7F && octet != UInt8(ascii: ":") && octet != UInt8(ascii: "/")
  }
}
