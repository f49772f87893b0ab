public import VProtocol

/// When each text last changed, as far as it was looked at: programs assume new octets when a
/// file's time changes.
struct TextChanges: Sendable {
  private var known: [TreePath: (hash: Int, time: Int64)] = [:]

  /// Beyond it all entries are dropped.
  private static let textsMax = 4096

  mutating func time(of path: TreePath, _ text: String, at now: Int64) -> Int64 {
    let hash = text.hashValue
    if let last = known[path], last.hash == hash { return last.time }
    if known.count >= Self.textsMax { known.removeAll() }
    known[path] = (hash, now)
    return now
  }
}

/// The words with which each user's last write to a file was refused, until a write succeeds: for
/// programs that get only the error number.
///
/// Each user has a share of the lines; beyond it the user's oldest line is dropped.
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

  /// A line; empty if nothing was refused.
  public func text(_ file: Name, _ principal: Principal) -> String {
    let key = Key(file: file, principal: principal)
    return lines.last { $0.key == key }.map { "refused: \($0.words)\n" } ?? ""
  }
}
