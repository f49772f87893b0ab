import Synchronization
import VDirectory
import VProtocol

/// What the log says of the prefixes of this node.
final class ClaimNotes: Sendable {
  private let directory: Directory
  private let state: Mutex<(left: Int, refused: Set<String>)>

  /// For `count` prefixes that are claimed at the start.
  init(_ count: Int, _ directory: Directory) {
    self.directory = directory
    state = Mutex((count, []))
  }

  /// Prefixes without an answer of the directory.
  var left: Int { state.withLock { $0.left } }

  /// The result of a claim on a prefix, which is served from a directory if it has one.
  func note(_ prefix: String, _ path: String?, _ code: ReplyCode) {
    let wasRefused = state.withLock { state in
      state.left -= 1
      return code.isOK
        ? state.refused.remove(prefix) != nil : !state.refused.insert(prefix).inserted
    }
    let place = path.map { " from \($0)" } ?? ""
    guard !code.isOK else {
      if wasRefused { log.info("\(prefix) is served\(place) now: the name is free again") }
      return
    }
    let holder = code == .duplicateName ? directory.holder(of: Array(prefix.utf8)) : nil
    let bound = code == .noServerResources ? ", \(directory.boundMet)" : ""
    log.error("\(prefix) is not served\(place): \(code)\(holder.map { ", by \($0)" } ?? bound)")
  }
}
