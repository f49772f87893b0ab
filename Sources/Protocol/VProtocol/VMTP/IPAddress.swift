/// An address of the Internet, of either version: one of IPv4 is here as IPv6 maps it,
/// `::ffff:a.b.c.d`.
public struct IPAddress: Hashable, Sendable {
  /// Its first 8 octets, and its last.
  public var high: UInt64
  public var low: UInt64
  /// The number of the interface, for an address that holds on one link; else 0.
  public var scope: UInt32

  public init(high: UInt64, low: UInt64, scope: UInt32 = 0) {
    (self.high, self.low, self.scope) = (high, low, scope)
  }

  /// No address: a socket with it has all addresses of its host.
  public static let any = IPAddress(high: 0, low: 0)

  /// In host byte order.
  public init(ipv4: UInt32) { self.init(high: 0, low: 0xFFFF << 32 | UInt64(ipv4)) }

  /// In host byte order; nil for an address of IPv6.
  public var ipv4: UInt32? {
    high == 0 && low >> 32 == 0xFFFF ? UInt32(truncatingIfNeeded: low) : nil
  }

  /// Whether it holds on one link: fe80::/10.
  public var isLinkLocal: Bool { high >> 54 == 0xFE80 >> 6 }

  /// Eight groups of four hexadecimal digits with ':' between them, or an IPv4 address; one '::'
  /// stands for groups of zeros, and `%INTERFACE` may follow, as `interface` understands it.
  public init?(_ text: some StringProtocol, interface: (String) -> UInt32? = { UInt32($0) }) {
    if let number = IPv4.address(of: text) {
      self.init(ipv4: number)
      return
    }
    let parts = text.split(separator: "%", omittingEmptySubsequences: false)
    guard parts.count <= 2, let groups = Self.groups(of: parts[0]) else { return nil }
    func eight(_ groups: ArraySlice<UInt64>) -> UInt64 { groups.reduce(0) { $0 << 16 | $1 } }
    self.init(high: eight(groups[..<4]), low: eight(groups[4...]))
    guard parts.count == 2 else { return }
    guard let scope = interface(String(parts[1])) else { return nil }
    self.scope = scope
  }

  private static func groups(of text: some StringProtocol) -> [UInt64]? {
    var words = text.split(separator: ":", omittingEmptySubsequences: false)
    // '::' at an end has an empty word before or after it too.
    if words.count > 2, words[0].isEmpty, words[1].isEmpty { words.removeFirst() }
    if words.count > 1, words[words.count - 1].isEmpty, words[words.count - 2].isEmpty {
      words.removeLast()
    }
    let gap = words.firstIndex { $0.isEmpty }
    let isShortened = zip(text.utf8, text.utf8.dropFirst()).contains {
      ($0, $1) == (UInt8(ascii: ":"), UInt8(ascii: ":"))
    }
    guard isShortened ? gap != nil && words.count <= 8 : words.count == 8 else { return nil }
    var groups: [UInt64] = []
    for (index, word) in words.enumerated() {
      if isShortened, index == gap {
        groups += Array(repeating: 0, count: 9 - words.count)
      } else {
        guard word.utf8.count <= 4, word.first != "+", let group = UInt16(word, radix: 16)
        else { return nil }
        groups.append(UInt64(group))
      }
    }
    return groups.count == 8 ? groups : nil
  }

  /// An address with or without a port: `192.0.2.1`, `192.0.2.1:7`, `2001:db8::1`,
  /// `[2001:db8::1]:7`.
  public static func withPort(
    _ text: some StringProtocol, interface: (String) -> UInt32? = { UInt32($0) }
  ) -> (address: IPAddress, port: UInt16?)? {
    if let address = IPAddress(text, interface: interface) { return (address, nil) }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
    else { return nil }
    let front = text[..<colon]
    let isBracketed = front.first == "[" && front.last == "]" && front.count > 1
    let inner = isBracketed ? front.dropFirst().dropLast() : front
    guard let address = IPAddress(inner, interface: interface),
      isBracketed == (address.ipv4 == nil)
    else { return nil }
    return (address, port)
  }

  /// The inverse: `192.0.2.1:7`, `[2001:db8::1]:7`.
  public func text(withPort port: UInt16) -> String {
    ipv4 == nil ? "[\(self)]:\(port)" : "\(self):\(port)"
  }
}

extension IPAddress: CustomStringConvertible {
  /// As RFC 5952 recommends; the interface by its number.
  public var description: String {
    if let ipv4 { return IPv4.text(of: ipv4) }
    let groups = (0..<8).map { index in
      UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - index % 4 * 16))
    }
    var text = ""
    let gap = Self.longestZeros(groups)
    var index = 0
    while index < 8 {
      if index == gap.lowerBound, gap.count > 1 {
        text += "::"
        index = gap.upperBound
      } else {
        if !text.isEmpty, !text.hasSuffix(":") { text += ":" }
        text += String(groups[index], radix: 16)
        index += 1
      }
    }
    return scope == 0 ? text : "\(text)%\(scope)"
  }

  /// The first of the longest rows of zeros.
  private static func longestZeros(_ groups: [UInt16]) -> Range<Int> {
    var longest = 0..<0
    var start = 0
    for index in 0..<8 {
      if groups[index] != 0 { start = index + 1 }
      if index + 1 - start > longest.count { longest = start..<(index + 1) }
    }
    return longest
  }
}
