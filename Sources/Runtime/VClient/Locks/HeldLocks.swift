internal import Synchronization
internal import VProtocol
internal import VRuntime

/// The locks that programs hold through a client: those to give back at a close, and to reclaim
/// when a manager has lost them.
final class HeldLocks: Sendable {
  struct Key: Hashable {
    let object: ObjectID
    let owner: UInt64
    let isWhole: Bool
  }

  /// One owner's locks on one object.
  struct Held {
    /// The open object through which it was used last.
    var open: OpenID
    var spans = RangeLocks()
    var process: UInt32
    /// The manager that gave them, and its count of locks by then.
    var manager: EntityID
    var grant: UInt64
  }

  private struct State {
    var held: [Key: Held] = [:]
    /// Closes under way that free a flock, and the calls to retry when they end.
    var closes: [ObjectID: (count: Int, retries: [@Sendable () -> Void])] = [:]
  }

  private let state = Mutex(State())

  func note(
    _ lock: ObjectLock, _ key: Key, _ open: OpenID, by manager: EntityID, grant: UInt64
  ) {
    state.withLock { state in
      var held =
        state.held[key]
        ?? Held(open: open, process: lock.process, manager: manager, grant: grant)
      (held.open, held.manager, held.grant) = (open, manager, grant)
      held.spans.set(lock.kind, lock.range)
      state.held[key] = held.spans.isEmpty ? nil : held
    }
  }

  func forget(_ key: Key) { state.withLock { $0.held[key] = nil } }

  func holds(_ key: Key) -> Bool { state.withLock { $0.held[key] != nil } }

  /// The locks taken through an open object, each with its grant at `manager`.
  func all(of open: OpenID, at manager: EntityID) -> [(lock: ObjectLock, since: UInt64)] {
    state.withLock { state in
      state.held.filter { $0.value.open == open }.flatMap { key, held in
        held.spans.spans.map { span in
          let lock = ObjectLock(
            span.kind, isWhole: key.isWhole, owner: key.owner, range: span.range,
            process: held.process)
          // A manager that was restarted counts anew.
          return (lock, held.manager == manager ? held.grant : 0)
        }
      }
    }
  }

  /// Forgets the locks of a closed object; true if `endClose` must follow.
  func beginClose(of open: OpenID, _ object: ObjectID) -> Bool {
    state.withLock { state in
      let keys = state.held.filter { $0.value.open == open }.keys
      for key in keys { state.held[key] = nil }
      guard keys.contains(where: \.isWhole) else { return false }
      state.closes[object, default: (0, [])].count += 1
      return true
    }
  }

  func endClose(of object: ObjectID) {
    let retries = state.withLock { state -> [@Sendable () -> Void] in
      guard let close = state.closes[object] else { return [] }
      if close.count > 1 {
        state.closes[object]?.count -= 1
        return []
      }
      state.closes[object] = nil
      return close.retries
    }
    for retry in retries { retry() }
  }

  /// Calls `retry` at the end of the closes under way; false if there are none.
  func afterCloses(of object: ObjectID, _ retry: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      state.closes[object]?.retries.append(retry)
      return state.closes[object] != nil
    }
  }
}
