// fuse_lowlevel.h brings its own view of struct flock, which the module rule then asks for.
internal import CFuse3
internal import Glibc
internal import VProtocol
internal import VRuntime

/// SETLK, SETLKW, GETLK and FLUSH: a lock of Linux is a lock on an instance.
///
/// A request for a lock is never given up, since nobody would know whether the lock was had: a
/// signal asks the manager to end the wait, and its answer ends the request.
extension Mount {
  private static let cancelInterval = TimeSpan.milliseconds(50)
  /// A manager that hears nothing for longer has taken back itself what this host had.
  static let withdrawalsMax = 15
  static let withdrawalInterval = TimeSpan.seconds(1)

  func setLock(
    _ request: FuseRequest, _ node: NodeID, _ handle: HandleID, _ lock: ObjectLock, waits: Bool
  ) {
    let key = HeldLocks.Key(node: node, owner: lock.owner, isWhole: lock.isWhole)
    if waits { request.onInterrupt { [self] in cancelLock(request, handle) } }
    let asked = handles[handle]
    use(handle, for: request, mustEnd: true) {
      LockInstance($0, lock, waits ? .waiting : .atOnce, ticket: request.unique)
    } then: { [self] answer in
      switch answer {
      case .done(let answer, let manager):
        locks.note(lock, key, handle, by: manager, grant: answer.grant)
        request.done()
      case .refused(let code):
        if code == .retransmissionTimeout, let asked {
          locks.forget(key)
          withdraw(lock, key, of: asked, ticket: request.unique)
        }
        // A flock is given up before another kind is asked for.
        if lock.isWhole && (code == .wouldBlock || code == .interrupted) { locks.forget(key) }
        // Linux does not wait for the last close, but the program whose close it was has gone on.
        let mayRetry = code == .wouldBlock && lock.isWhole
        if mayRetry,
          locks.afterCloses(
            of: node, { [self] in setLock(request, node, handle, lock, waits: waits) })
        {
          return
        }
        Self.failLock(request, code)
      }
    }
  }

  private func cancelLock(_ request: FuseRequest, _ id: HandleID) {
    guard request.isOpen, let handle = handles[id] else { return }
    clients.send(
      CancelLock(handle.instance, ticket: request.unique), as: handle.user, to: handle.manager
    ) { [self] answer in
      // It may not have begun to wait yet.
      guard case .refused = answer else { return }
      backplane.after(Self.cancelInterval) { [self] in cancelLock(request, id) }
    }
  }

  /// Takes back what a manager may have done of a request whose outcome nobody will know: a wait
  /// that goes on, a lock that was given, an unlocking that did not come.
  private func withdraw(
    _ lock: ObjectLock, _ key: HeldLocks.Key, of handle: Handle, ticket: UInt64,
    triesLeft: Int = Mount.withdrawalsMax
  ) {
    clients.send(CancelLock(handle.instance, ticket: ticket), as: handle.user, to: handle.manager) {
      [self] answer in
      // Whoever has asked for the lock once more knows what came of that.
      guard case .refused(let code) = answer, triesLeft > 0, !locks.holds(key) else { return }
      if code == .notFound {
        var free = lock
        free.kind = .none
        clients.send(
          LockInstance(handle.instance, free, .atOnce), as: handle.user, to: handle.manager
        ) { _ in }
      } else if code == .retransmissionTimeout {
        backplane.after(Self.withdrawalInterval) { [self] in
          withdraw(lock, key, of: handle, ticket: ticket, triesLeft: triesLeft - 1)
        }
      }
    }
  }

  func queryLock(
    _ request: FuseRequest, _ handle: HandleID, _ lock: ObjectLock
  ) {
    use(handle, for: request) {
      QueryLock($0, lock)
    } then: { answer in
      switch answer {
      case .done(let answer, _): request.reply(Self.flock(answer.lock))
      case .refused(let code): Self.failLock(request, code)
      }
    }
  }

  /// A descriptor was closed: the process that did it has no lock on the object's ranges now.
  func flush(_ request: FuseRequest, _ node: NodeID, _ handle: HandleID, owner: UInt64) {
    let key = HeldLocks.Key(node: node, owner: owner, isWhole: false)
    guard locks.holds(key), let asked = handles[handle] else { return request.done() }
    let lock = ObjectLock(.none, isWhole: false, owner: owner, range: 0...UInt64.max, process: 0)
    use(handle, for: request, mustEnd: true) {
      LockInstance($0, lock, .atOnce)
    } then: { [self] answer in
      locks.forget(key)
      if case .refused(.retransmissionTimeout) = answer {
        withdraw(lock, key, of: asked, ticket: request.unique)
      }
      // No program expects that a close fails for a lock.
      request.done()
    }
  }

  private static func failLock(_ request: FuseRequest, _ code: ReplyCode) {
    let hasNoLocks = code == .illegalRequest || code == .noServerResources
    if hasNoLocks { request.fail(ENOLCK) } else { request.fail(code) }
  }
}

// MARK: - Locks as Linux has them

extension Mount {
  static func lock(_ flock: flock, owner: UInt64) -> ObjectLock {
    let first = UInt64(flock.l_start)
    let last = flock.l_len == 0 ? UInt64.max : first + UInt64(flock.l_len) - 1
    let kind: LockKind =
      switch Int32(flock.l_type) {
      case F_RDLCK: .shared
      case F_WRLCK: .exclusive
      default: .none
      }
    return ObjectLock(
      kind, isWhole: false, owner: owner, range: first...last,
      process: UInt32(max(0, flock.l_pid)))
  }

  /// The lock of an operation of flock(2).
  static func lock(operation: Int32, owner: UInt64) -> ObjectLock {
    let kind: LockKind =
      switch operation & ~LOCK_NB {
      case LOCK_SH: .shared
      case LOCK_EX: .exclusive
      default: .none
      }
    return ObjectLock(kind, isWhole: true, owner: owner, range: 0...UInt64.max, process: 0)
  }

  private static func flock(_ lock: ObjectLock) -> flock {
    var flock = Glibc.flock()
    let type =
      switch lock.kind {
      case .none: F_UNLCK
      case .shared: F_RDLCK
      case .exclusive: F_WRLCK
      }
    let count = lock.range.upperBound - lock.range.lowerBound
    flock.l_type = Int16(type)
    flock.l_whence = Int16(SEEK_SET)
    flock.l_start = Int(clamping: lock.range.lowerBound)
    flock.l_len = count >= UInt64(Int.max) ? 0 : Int(count + 1)
    flock.l_pid = Int32(clamping: lock.process)
    return flock
  }
}
