/// Why a manager, or its machine, refuses a request: a code, and words that go with it.
public struct Refusal: Error, Hashable, Sendable {
  public var code: ReplyCode
  public var words: String

  public init(_ code: ReplyCode, _ words: String = "") {
    self.code = code
    self.words = words
  }

  /// Longer words are cut off.
  public static let wordsBytesMax = 512

  /// As a reply: the words are its segment.
  public var message: Message {
    Message(Message(reply: code).mcb, segment: Array(words.utf8.prefix(Self.wordsBytesMax)))
  }
}
