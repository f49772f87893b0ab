public import VProtocol
internal import VRuntime

/// Locks on open objects.
///
/// A call for a lock always waits for its end; otherwise it would be unknown whether the lock was
/// given.
extension Call {
  /// Takes, changes or gives up a lock; `then` gets `ok` once it is given.
  public func setLock(
    _ object: ObjectID, _ id: OpenID, _ lock: ObjectLock, waits: Bool,
    then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let key = HeldLocks.Key(object: object, owner: lock.owner, isWhole: lock.isWhole)
    guard let asked = client.opens[id] else { return then(.notReadable) }
    let undo = { @Sendable [client] in client.unlock(lock, key, asked) }
    use(id, mustEnd: !waits, undo: waits ? undo : nil) {
      LockInstance($0, lock, waits ? .waiting : .atOnce)
    } then: { [self] answer in
      let locks = client.locks
      switch answer {
      case .done(let answer, let manager):
        // The program has returned from its signal before.
        guard isOpen || !waits else { return undo() }
        locks.note(lock, key, id, by: manager, grant: answer.grant)
        then(.ok)
      case .refused(let refusal):
        let code = refusal.code
        if code == .retransmissionTimeout {
          locks.forget(key)
          if !waits { client.withdraw(.none, at: asked.manager, as: asked.user, undo) }
        }
        // A flock is given up before another kind is requested.
        if lock.isWhole && (code == .wouldBlock || code == .interrupted) { locks.forget(key) }
        // A program goes on before its last close has reached the manager.
        let mayRetry = code == .wouldBlock && lock.isWhole
        let retry = { @Sendable [self] in setLock(object, id, lock, waits: waits, then: then) }
        if mayRetry && locks.afterCloses(of: object, retry) { return }
        then(code)
      }
    }
  }

  /// A descriptor was closed: its process then has no lock on the object's ranges.
  ///
  /// Programs do not expect a close to fail because of a lock.
  public func closeRanges(
    _ object: ObjectID, _ id: OpenID, owner: UInt64, then: @escaping @Sendable () -> Void
  ) {
    let key = HeldLocks.Key(object: object, owner: owner, isWhole: false)
    guard client.locks.holds(key), let asked = client.opens[id] else { return then() }
    let lock = ObjectLock(.none, isWhole: false, owner: owner, range: 0...UInt64.max, process: 0)
    use(id, mustEnd: true, undo: nil) {
      LockInstance($0, lock, .atOnce)
    } then: { [client] answer in
      client.locks.forget(key)
      if case .refused(.retransmissionTimeout) = answer {
        client.withdraw(.none, at: asked.manager, as: asked.user) {
          client.unlock(lock, key, asked)
        }
      }
      then()
    }
  }
}

extension Client {
  /// Takes back a lock that no program knows of, unless it was requested again.
  fileprivate func unlock(_ lock: ObjectLock, _ key: HeldLocks.Key, _ asked: OpenObject) {
    guard !locks.holds(key) else { return }
    var free = lock
    free.kind = .none
    clients.send(
      LockInstance(asked.instance, free, .atOnce), as: asked.user, to: asked.manager
    ) { _ in }
  }
}
