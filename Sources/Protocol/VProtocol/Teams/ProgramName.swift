/// A program as people name it: `moa/12.sort`, `moa/12`, `12.sort`, `12`, or a path to it,
/// `/v/team/moa/12.sort`.
public struct ProgramName: Hashable, Sendable {
  /// Nil is this host.
  public var host: String?
  public var number: UInt32
  /// As in a listing, `12.sort`; nil if only the number was given.
  public var full: String?

  public init?(_ text: some StringProtocol) {
    var parts = String(text).split(separator: "/").map(String.init)
    if text.hasPrefix("/") {
      guard parts.first == "v" else { return nil }
      parts.removeFirst()
      guard parts.first == "team" else { return nil }
    }
    if parts.count == 3, parts[0] == "team" { parts.removeFirst() }
    guard 1...2 ~= parts.count, let name = parts.last else { return nil }
    let pieces = name.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let number = UInt32(pieces[0]), number > 0 else { return nil }
    host = parts.count == 2 && parts[0] != "self" ? parts[0] : nil
    self.number = number
    full = pieces.count == 2 ? name : nil
  }

  /// Whether it is the program with this name in a listing.
  public func matches(_ listed: String) -> Bool {
    if let full { return listed == full }
    return listed.hasPrefix("\(number).")
  }
}
