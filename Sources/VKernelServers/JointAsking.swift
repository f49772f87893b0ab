import Synchronization

/// A question that many may have at once is asked once: who comes while it is under way waits for
/// that answer.
final class JointAsking: Sendable {
  /// Who waits; nil while nothing is asked.
  private let waiting = Mutex<[@Sendable () -> Void]?>(nil)

  /// Calls `then` when the question is answered; `ask` asks it, and calls its argument then.
  func join(
    _ then: @escaping @Sendable () -> Void,
    _ ask: (_ answered: @escaping @Sendable () -> Void) -> Void
  ) {
    let isFirst = waiting.withLock { waiting in
      let isFirst = waiting == nil
      waiting = (waiting ?? []) + [then]
      return isFirst
    }
    guard isFirst else { return }
    ask { [self] in
      for then in waiting.withLock({ $0.take() }) ?? [] { then() }
    }
  }
}
