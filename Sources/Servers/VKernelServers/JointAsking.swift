import Synchronization

/// A question that is asked once for several callers: callers that come while it is under way share
/// the next one, because its answer may miss what has happened since it was asked.
final class JointAsking: Sendable {
  typealias Ask = @Sendable (_ answered: @escaping @Sendable () -> Void) -> Void

  /// The callers that share the next question; nil while no question is under way.
  private let waiting = Mutex<[@Sendable () -> Void]?>(nil)

  /// Calls `then` when a question is answered that was asked from now on; `ask` asks it, and calls
  /// its argument when it is answered.
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
