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

  /// What a reply that is not OK says: its code, and the words in its segment.
  public init(_ reply: Message) {
    self.init(
      reply.reply, String(decoding: reply.segment.prefix(Self.wordsBytesMax), as: UTF8.self))
  }

  /// As a reply: the words are its segment.
  public var message: Message {
    Message(Message(reply: code).mcb, segment: Array(words.utf8.prefix(Self.wordsBytesMax)))
  }

  /// The pattern of a code matches whatever the words are.
  public static func ~= (code: ReplyCode, refusal: Refusal) -> Bool { code == refusal.code }
}

extension Refusal: CustomStringConvertible {
  /// Its words, or what its code means.
  public var description: String { words.isEmpty ? "\(code)" : words }
}
