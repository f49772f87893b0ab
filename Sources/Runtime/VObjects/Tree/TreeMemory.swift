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
///
/// Each user has a share of the lines; beyond it their own oldest is forgotten.
public struct RefusedLines: Sendable {
  private struct Key: Hashable {
    var file: Name
    var principal: Principal
  }

  /// The latest last.
  private var lines: [(key: Key, words: String)] = []
  private var shares: Shares

  /// At most half a megabyte.
  package static let linesMax = 1024

  public init(host: String) { shares = Shares(capacity: Self.linesMax, ownHost: host) }

  public mutating func note(_ refusal: Refusal?, _ file: Name, _ principal: Principal) {
    let key = Key(file: file, principal: principal)
    if let old = lines.firstIndex(where: { $0.key == key }) { forget(old) }
    guard let refusal else { return }
    while !shares.take(principal) {
      let own = lines.firstIndex { shares.isSamePayer($0.key.principal, principal) }
      guard let own else { return }
      forget(own)
    }
    let words = Refusal.shown(refusal.words).inLine()
    lines.append((key, words.isEmpty ? "\(refusal.code)" : words))
  }

  private mutating func forget(_ index: Int) {
    shares.give(lines.remove(at: index).key.principal)
  }

  /// A line; nothing where nothing was refused.
  public func text(_ file: Name, _ principal: Principal) -> String {
    let key = Key(file: file, principal: principal)
    return lines.last { $0.key == key }.map { "refused: \($0.words)\n" } ?? ""
  }
}
