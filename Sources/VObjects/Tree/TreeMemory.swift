public import VProtocol

/// Since when each text is what it is, as far as somebody looked: programs that see a file's time
/// change take its octets for changed.
struct TextChanges: Sendable {
  private var known: [TreePath: (hash: Int, time: Int64)] = [:]

  /// Beyond it all is forgotten.
  private static let textsMax = 4096

  mutating func time(of path: TreePath, _ text: String, at now: Int64) -> Int64 {
    let hash = text.hashValue
    if let last = known[path], last.hash == hash { return last.time }
    if known.count >= Self.textsMax { known.removeAll() }
    known[path] = (hash, now)
    return now
  }
}

/// The words with which each user's last write to a file was refused, until one is taken: for
/// programs that get the error number only.
public struct RefusedLines: Sendable {
  private struct Key: Hashable {
    var file: Name
    var principal: Principal
  }

  private var words: [Key: String] = [:]

  /// Beyond it all are forgotten.
  private static let linesMax = 1024

  public init() {}

  public mutating func note(_ refusal: Refusal?, _ file: Name, _ principal: Principal) {
    if words.count >= Self.linesMax { words.removeAll() }
    let text = refusal.map { $0.words.isEmpty ? "\($0.code)" : Refusal.shown($0.words) }
    words[Key(file: file, principal: principal)] = text
  }

  /// A line; nothing where nothing was refused.
  public func text(_ file: Name, _ principal: Principal) -> String {
    words[Key(file: file, principal: principal)].map { "refused: \($0)\n" } ?? ""
  }
}
