// fuse_lowlevel.h brings its own view of struct flock, which the module rule then asks for.
internal import CFuse3
internal import Glibc
internal import VProtocol
internal import VRuntime

/// SETLK, SETLKW, GETLK and FLUSH: a lock of Linux is a lock on an instance.
///
/// A request for a lock always ends, since nobody would know whether the lock was had.
extension Mount {
  func setLock(
    _ request: FuseRequest, _ node: NodeID, _ handle: HandleID, _ lock: ObjectLock, waits: Bool
  ) {
    let key = HeldLocks.Key(node: node, owner: lock.owner, isWhole: lock.isWhole)
    guard let asked = handles[handle] else { return request.fail(EBADF) }
    let undo = { @Sendable [self] in unlock(lock, key, asked) }
    use(handle, for: request, mustEnd: !waits, undo: waits ? undo : nil) {
      LockInstance($0, lock, waits ? .waiting : .atOnce)
    } then: { [self] answer in
      switch answer {
      case .done(let answer, let manager):
        // The program was told of its signal before.
        guard request.isOpen || !waits else { return undo() }
        locks.note(lock, key, handle, by: manager, grant: answer.grant)
        request.done()
      case .refused(let code):
        if code == .retransmissionTimeout {
          locks.forget(key)
          if !waits { withdraw(asked, undo) }
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

  /// Takes back a lock that no program knows of, unless it was asked for once more.
  private func unlock(_ lock: ObjectLock, _ key: HeldLocks.Key, _ asked: Handle) {
    guard !locks.holds(key) else { return }
    var free = lock
    free.kind = .none
    clients.send(
      LockInstance(asked.instance, free, .atOnce), as: asked.user, to: asked.manager
    ) { _ in }
  }

  private func withdraw(_ asked: Handle, _ undo: @escaping @Sendable () -> Void) {
    // Nothing waits for that client: so what was asked has been done, or will never be.
    withdraw(
      FuseRequest.Wait(client: .none, manager: asked.manager, user: asked.user), undo)
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
        withdraw(asked) { [self] in unlock(lock, key, asked) }
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
