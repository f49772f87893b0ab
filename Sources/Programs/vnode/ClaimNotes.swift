import Synchronization
import VDirectory
import VProtocol

/// What the log says of the prefixes of this node.
final class ClaimNotes: Sendable {
  private let directory: Directory
  private let count: Int
  private let state = Mutex<(answered: Set<String>, refused: Set<String>)>(([], []))

  /// For `count` prefixes that are claimed at the start.
  init(_ count: Int, _ directory: Directory) {
    self.count = count
    self.directory = directory
  }

  /// Prefixes of the start without an answer of the directory.
  var left: Int { max(count - state.withLock { $0.answered.count }, 0) }

  /// The result of a claim on a prefix, which is served from a directory if it has one.
  func note(_ prefix: String, _ path: String?, _ code: ReplyCode) {
    let wasRefused = state.withLock { state in
      state.answered.insert(prefix)
      let wasRefused = state.refused.contains(prefix)
      if code.isOK { state.refused.remove(prefix) } else { state.refused.insert(prefix) }
      return wasRefused
    }
    let place = path.map { " from \($0)" } ?? ""
    guard !code.isOK else {
      if wasRefused { log.info("\(prefix) is served\(place) now") }
      return
    }
    let holder = code == .duplicateName ? directory.holder(of: Array(prefix.utf8)) : nil
    let bound = code == .noServerResources ? ", \(directory.boundMet)" : ""
    log.error("\(prefix) is not served\(place): \(code)\(holder.map { ", by \($0)" } ?? bound)")
  }
}
