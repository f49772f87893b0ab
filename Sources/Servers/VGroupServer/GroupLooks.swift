import Synchronization
import VProtocol

/// Looks at groups that are under way: the boards are asked for one name by one question at a time.
///
/// Who wants to look meanwhile shares the next question, and not the one under way: that may miss
/// what has happened since it was asked.
final class GroupLooks: Sendable {
  typealias Found = @Sendable (GroupView?) -> Void
  typealias Look = @Sendable (@escaping Found) -> Void

  /// By the name that is asked for: who shares the next question.
  private let waiting = Mutex<[Name: [Found]]>([:])

  /// Calls `found` once, with what a `look` finds that begins from now on.
  func add(_ name: Name, _ look: @escaping Look, _ found: @escaping Found) {
    let isFirst = waiting.withLock { waiting in
      guard waiting[name] == nil else {
        waiting[name]?.append(found)
        return false
      }
      waiting[name] = []
      return true
    }
    if isFirst { run(name, look, for: [found]) }
  }

  private func run(_ name: Name, _ look: @escaping Look, for all: [Found]) {
    look { [self] view in
      for found in all { found(view) }
      let next = waiting.withLock { waiting in
        let next = waiting[name] ?? []
        waiting[name] = next.isEmpty ? nil : []
        return next
      }
      if !next.isEmpty { run(name, look, for: next) }
    }
  }
}
