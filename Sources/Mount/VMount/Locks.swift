// fuse_lowlevel.h brings its own view of struct flock, which the module rule then asks for.
internal import CFuse3
internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// SETLK, SETLKW, GETLK and FLUSH: a lock of Linux is a lock on an instance.
///
/// A request for a lock always ends, since nobody would know whether the lock was had.
extension FuseRequest {
  func setLock(_ node: NodeID, _ handle: HandleID, _ lock: ObjectLock, waits: Bool) {
    let key = HeldLocks.Key(node: node, owner: lock.owner, isWhole: lock.isWhole)
    guard let asked = mount.handles[handle] else { return fail(EBADF) }
    let undo = { @Sendable [mount] in mount.unlock(lock, key, asked) }
    use(handle, mustEnd: !waits, undo: waits ? undo : nil) {
      LockInstance($0, lock, waits ? .waiting : .atOnce)
    } then: { [self] answer in
      let locks = mount.locks
      switch answer {
      case .done(let answer, let manager):
        // The program was told of its signal before.
        guard isOpen || !waits else { return undo() }
        locks.note(lock, key, handle, by: manager, grant: answer.grant)
        done()
      case .refused(let code):
        if code == .retransmissionTimeout {
          locks.forget(key)
          if !waits { mount.withdraw(.none, at: asked.manager, as: asked.user, undo) }
        }
        // A flock is given up before another kind is asked for.
        if lock.isWhole && (code == .wouldBlock || code == .interrupted) { locks.forget(key) }
        // Linux does not wait for the last close, but the program whose close it was has gone on.
        let mayRetry = code == .wouldBlock && lock.isWhole
        let retry = { @Sendable [self] in setLock(node, handle, lock, waits: waits) }
        if mayRetry && locks.afterCloses(of: node, retry) { return }
        failLock(code)
      }
    }
  }

  func queryLock(_ handle: HandleID, _ lock: ObjectLock) {
    use(handle) {
      QueryLock($0, lock)
    } then: { [self] answer in
      switch answer {
      case .done(let answer, _): reply(Mount.record(of: answer.lock))
      case .refused(let code): failLock(code)
      }
    }
  }

  /// A descriptor was closed: the process that did it has no lock on the object's ranges now.
  func flush(_ node: NodeID, _ handle: HandleID, owner: UInt64) {
    let key = HeldLocks.Key(node: node, owner: owner, isWhole: false)
    guard mount.locks.holds(key), let asked = mount.handles[handle] else { return done() }
    let lock = ObjectLock(.none, isWhole: false, owner: owner, range: 0...UInt64.max, process: 0)
    use(handle, mustEnd: true) {
      LockInstance($0, lock, .atOnce)
    } then: { [self] answer in
      mount.locks.forget(key)
      if case .refused(.retransmissionTimeout) = answer {
        mount.withdraw(.none, at: asked.manager, as: asked.user) { [mount] in
          mount.unlock(lock, key, asked)
        }
      }
      // No program expects that a close fails for a lock.
      done()
    }
  }

  private func failLock(_ code: ReplyCode) {
    let hasNoLocks = code == .illegalRequest || code == .noServerResources
    if hasNoLocks { fail(ENOLCK) } else { fail(code) }
  }
}

extension Mount {
  /// Takes back a lock that no program knows of, unless it was asked for once more.
  fileprivate func unlock(_ lock: ObjectLock, _ key: HeldLocks.Key, _ asked: Handle) {
    guard !locks.holds(key) else { return }
    var free = lock
    free.kind = .none
    clients.send(
      LockInstance(asked.instance, free, .atOnce), as: asked.user, to: asked.manager
    ) { _ in }
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

  fileprivate static func record(of lock: ObjectLock) -> fuse_lk_out {
    let type =
      switch lock.kind {
      case .none: F_UNLCK
      case .shared: F_RDLCK
      case .exclusive: F_WRLCK
      }
    // Linux's offsets are signed; the last one stands for the end of every file.
    let last = UInt64(Int64.max)
    let range = lock.range.clamped(to: 0...last)
    return fuse_lk_out(
      lk: fuse_file_lock(
        start: range.lowerBound, end: range.upperBound, type: UInt32(type), pid: lock.process))
  }
}
