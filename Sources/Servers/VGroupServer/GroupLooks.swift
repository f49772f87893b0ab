import Synchronization
import VProtocol

/// The result of looking up a group.
struct GroupLook: Sendable {
  var view: GroupView?
  /// Hosts that did not answer, and may have members.
  var silent: [String]
}

/// Lookups of groups that are under way: for one name there is one question to the group servers at
/// a time.
///
/// Callers that come meanwhile share the next question, because the one under way may miss what has
/// happened since it was asked.
final class GroupLooks: Sendable {
  typealias Found = @Sendable (GroupLook) -> Void
  typealias Look = @Sendable (@escaping Found) -> Void

  /// By the name that is asked for: the callers that share the next question.
  private let waiting = Mutex<[Name: [Found]]>([:])

  /// Calls `found` once, with the result of a `look` that begins from now on.
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
    look { [self] result in
      for found in all { found(result) }
      let next = waiting.withLock { waiting in
        let next = waiting[name] ?? []
        waiting[name] = next.isEmpty ? nil : []
        return next
      }
      if !next.isEmpty { run(name, look, for: next) }
    }
  }
}
