/// Why a manager, or the machine it works with, does not do what it was asked; in words too, which
/// go with the code.
public struct Refusal: Error, Hashable, Sendable {
  public var code: ReplyCode
  public var words: String

  public init(_ code: ReplyCode, _ words: String = "") {
    self.code = code
    self.words = words
  }

  /// More is cut off.
  public static let wordsBytesMax = 512

  /// As a reply: the words are its segment.
  public var message: Message {
    Message(Message(reply: code).mcb, segment: Array(words.utf8.prefix(Self.wordsBytesMax)))
  }
}
