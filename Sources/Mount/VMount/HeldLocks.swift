internal import Synchronization
internal import VProtocol
internal import VRuntime

/// The locks that programs hold through this mount: what to give back at a close, and what to ask
/// for again when a manager has lost it.
final class HeldLocks: Sendable {
  struct Key: Hashable {
    let node: NodeID
    let owner: UInt64
    let isWhole: Bool
  }

  /// One owner's locks on one object.
  struct Held {
    /// The handle used last.
    var handle: HandleID
    var spans = RangeLocks()
    var process: UInt32
    /// Who gave them, and how many locks it had given by then.
    var manager: EntityID
    var grant: UInt64
  }

  private struct State {
    var held: [Key: Held] = [:]
    /// Closes under way that free a flock, and who tries again at their end.
    var closes: [NodeID: (count: Int, retries: [@Sendable () -> Void])] = [:]
  }

  private let state = Mutex(State())

  func note(
    _ lock: ObjectLock, _ key: Key, _ handle: HandleID, by manager: EntityID, grant: UInt64
  ) {
    state.withLock { state in
      var held =
        state.held[key]
        ?? Held(handle: handle, process: lock.process, manager: manager, grant: grant)
      (held.handle, held.manager, held.grant) = (handle, manager, grant)
      held.spans.set(lock.kind, lock.range)
      state.held[key] = held.spans.isEmpty ? nil : held
    }
  }

  func forget(_ key: Key) { state.withLock { $0.held[key] = nil } }

  func holds(_ key: Key) -> Bool { state.withLock { $0.held[key] != nil } }

  /// The locks taken through a handle, each with what it counts from at `manager`.
  func all(of handle: HandleID, at manager: EntityID) -> [(lock: ObjectLock, since: UInt64)] {
    state.withLock { state in
      state.held.filter { $0.value.handle == handle }.flatMap { key, held in
        held.spans.spans.map { span in
          let lock = ObjectLock(
            span.kind, isWhole: key.isWhole, owner: key.owner, range: span.range,
            process: held.process)
          // A manager that was started anew counts anew.
          return (lock, held.manager == manager ? held.grant : 0)
        }
      }
    }
  }

  /// Forgets what was locked through a handle that is closed; true if `endClose` is to follow.
  func beginClose(of handle: HandleID, _ node: NodeID) -> Bool {
    state.withLock { state in
      let keys = state.held.filter { $0.value.handle == handle }.keys
      for key in keys { state.held[key] = nil }
      guard keys.contains(where: \.isWhole) else { return false }
      state.closes[node, default: (0, [])].count += 1
      return true
    }
  }

  func endClose(of node: NodeID) {
    let retries = state.withLock { state -> [@Sendable () -> Void] in
      guard let close = state.closes[node] else { return [] }
      if close.count > 1 {
        state.closes[node]?.count -= 1
        return []
      }
      state.closes[node] = nil
      return close.retries
    }
    for retry in retries { retry() }
  }

  /// Calls `retry` at the end of the closes under way; false if there are none.
  func afterCloses(of node: NodeID, _ retry: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      state.closes[node]?.retries.append(retry)
      return state.closes[node] != nil
    }
  }
}
