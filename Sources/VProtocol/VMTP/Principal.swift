/// Who stands behind a client entity: a user of a host.
///
/// Travels as `user@host`.
public struct Principal: Hashable, Sendable, CustomStringConvertible {
  public var user: String
  public var host: String

  public init(user: String, host: String) {
    self.user = user
    self.host = host
  }

  /// Reads `user@host`; nil where a part is missing.
  public init?(_ text: String) {
    guard let at = text.lastIndex(of: "@"), at != text.startIndex else { return nil }
    user = String(text[..<at])
    host = String(text[text.index(after: at)...])
    guard !host.isEmpty else { return nil }
  }

  public var description: String { "\(user)@\(host)" }
}
