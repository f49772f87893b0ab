public import VProtocol

/// The contexts of a tree: a number for each name that was asked for.
///
/// Beyond the bound the oldest are dropped; who held them binds anew by name.
struct TreeContexts: Sendable {
  private var paths: [UInt64: String] = [1: ""]
  private var numbers: [String: UInt64] = ["": 1]
  private var oldest: UInt64 = 2
  private var last: UInt64 = 1

  /// The root's number is 1 and is never dropped.
  static let contextsMax: UInt64 = 4096

  mutating func context(of path: String) -> ContextID {
    if let number = numbers[path] { return ContextID(rawValue: number) }
    last += 1
    paths[last] = path
    numbers[path] = last
    if last - oldest >= Self.contextsMax {
      if let dropped = paths.removeValue(forKey: oldest) { numbers[dropped] = nil }
      oldest += 1
    }
    return ContextID(rawValue: last)
  }

  func path(of context: ContextID) -> String? {
    paths[context == .none ? 1 : context.rawValue]
  }
}

/// Since when each text is what it is, as far as somebody looked: programs that see a file's time
/// change take its octets for changed.
struct TextChanges: Sendable {
  private var known: [String: (hash: Int, time: Int64)] = [:]

  /// Beyond it all is forgotten.
  private static let textsMax = 4096

  mutating func time(of path: String, _ text: String, at now: Int64) -> Int64 {
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
    var file: String
    var principal: Principal
  }

  private var words: [Key: String] = [:]

  /// Beyond it all are forgotten.
  private static let linesMax = 1024

  public init() {}

  public mutating func note(_ refusal: Refusal?, _ file: String, _ principal: Principal) {
    if words.count >= Self.linesMax { words.removeAll() }
    let text = refusal.map { $0.words.isEmpty ? "\($0.code)" : $0.words }
    words[Key(file: file, principal: principal)] = text
  }

  /// A line; nothing where nothing was refused.
  public func text(_ file: String, _ principal: Principal) -> String {
    words[Key(file: file, principal: principal)].map { "refused: \($0)\n" } ?? ""
  }
}
