/// The user and host behind a client entity, with the marks of that host's kernel.
///
/// Two principals are the same only with the same marks: instances belong to the whole principal.
/// It travels as `user@host`, with the marks beside it.
public struct Principal: Hashable, Sendable, CustomStringConvertible {
  /// What a host's kernel knows of one of its clients.
  public struct Marks: OptionSet, Hashable, Sendable {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The client is of the node's own mount, which reads a file that its user may not read only to
    /// run it.
    public static let mountMade = Marks(rawValue: 1)
    /// Root with all of Linux's rights over the host, not one of a container in it.
    public static let fullRoot = Marks(rawValue: 2)
  }

  /// A name, or `#N` where a number has none.
  public var user: String
  public var host: String
  public var marks: Marks

  public init(user: String, host: String, marks: Marks = []) {
    self.user = user
    self.host = host
    self.marks = marks
  }

  /// Reads `user@host`; nil if it is malformed: both parts are visible ASCII, the user without `@`,
  /// so that no two texts are one name, and no name of a user is a principal.
  public init?(_ text: some StringProtocol, marks: Marks = []) {
    guard let at = text.lastIndex(of: "@"), at != text.startIndex else { return nil }
    self.init(
      user: String(text[..<at]), host: String(text[text.index(after: at)...]), marks: marks)
    guard Self.isUser(user), Self.isName(host) else { return nil }
  }

  /// The longest name of a user.
  public static let userBytesMax = 128

  /// The user for an account of this host: its name, or `#number` if it has none or one that no
  /// principal can have.
  public static func user(ofAccount name: String?, number: UInt32) -> String {
    guard let name, isUser(name), !name.hasPrefix("#") else { return "#\(number)" }
    return name
  }

  /// Whether a text can be a user: a name of at most `userBytesMax` octets without `@`.
  public static func isUser(_ text: String) -> Bool {
    isName(text) && text.utf8.count <= userBytesMax && !text.utf8.contains(UInt8(ascii: "@"))
  }

  /// Whether a text can be a user or a host: at least one octet, each of them visible ASCII.
  public static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { 0x21...0x7E ~= $0 }
  }

  /// Root of a host, or of a container in it.
  public var isRoot: Bool { user == "root" }
  /// Root of a host with all of Linux's rights there.
  public var isFullRoot: Bool { isRoot && marks.contains(.fullRoot) }

  public var description: String { "\(user)@\(host)" }
}
