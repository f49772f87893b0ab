import Synchronization

/// A question that many may have at once is asked by one at a time: who comes while it is under way
/// shares the next one, since that answer may miss what has happened since it was asked.
final class JointAsking: Sendable {
  typealias Ask = @Sendable (_ answered: @escaping @Sendable () -> Void) -> Void

  /// Who shares the next question; nil while nothing is asked.
  private let waiting = Mutex<[@Sendable () -> Void]?>(nil)

  /// Calls `then` when a question is answered that was asked from now on; `ask` asks it, and calls
  /// its argument then.
  func join(_ then: @escaping @Sendable () -> Void, _ ask: @escaping Ask) {
    let isFirst = waiting.withLock { waiting in
      waiting?.append(then)
      guard waiting == nil else { return false }
      waiting = []
      return true
    }
    if isFirst { run(ask, for: [then]) }
  }

  private func run(_ ask: @escaping Ask, for all: [@Sendable () -> Void]) {
    ask { [self] in
      let next = waiting.withLock { waiting in
        let next = waiting ?? []
        waiting = next.isEmpty ? nil : []
        return next
      }
      for then in all { then() }
      if !next.isEmpty { run(ask, for: next) }
    }
  }
}
