/// Puts a prefix in front of every line of a stream that comes in pieces.
public struct LinePrefixer: Sendable {
  private let prefix: [UInt8]
  private var rest: [UInt8] = []

  /// A longer line is passed on in pieces.
  public static let lineBytesMax = 65_536

  public init(_ prefix: String) { self.prefix = Array(prefix.utf8) }

  /// The whole lines so far, each with the prefix.
  public mutating func take(_ octets: [UInt8]) -> [UInt8] {
    rest += octets
    var out: [UInt8] = []
    while let end = rest.firstIndex(of: Self.newline) {
      out += prefix + rest[...end]
      rest.removeFirst(end + 1)
    }
    return rest.count > Self.lineBytesMax ? out + finish() : out
  }

  /// A last line without its newline, which is added.
  public mutating func finish() -> [UInt8] {
    defer { rest = [] }
    return rest.isEmpty ? [] : prefix + rest + [Self.newline]
  }

  private static let newline = UInt8(ascii: "\n")
}
