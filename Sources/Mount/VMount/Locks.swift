internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// SETLK, SETLKW, GETLK and FLUSH: a lock of Linux is a lock on an instance.
extension Mount {
  public func setLock(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, _ lock: FileLock,
    waits: Bool
  ) {
    call(request).setLock(node, handle, Self.lock(lock), waits: waits) { code in
      if code.isOK { request.done() } else { request.failLock(code) }
    }
  }

  public func queryLock(_ request: FuseRequest, _ handle: HandleNumber, _ lock: FileLock) {
    call(request).use(handle) {
      QueryLock($0, Self.lock(lock))
    } then: { answer in
      switch answer {
      case .done(let answer, _): request.reply(Self.lock(answer.lock))
      case .refused(let refusal): request.failLock(refusal.code)
      }
    }
  }

  public func flush(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, owner: UInt64
  ) {
    call(request).closeRanges(node, handle, owner: owner) { request.done() }
  }

  private static func lock(_ lock: FileLock) -> ObjectLock {
    let kind: LockKind =
      switch lock.kind {
      case .none: .none
      case .shared: .shared
      case .exclusive: .exclusive
      }
    return ObjectLock(
      kind, isWhole: lock.isWhole, owner: lock.owner, range: lock.range, process: lock.process)
  }

  private static func lock(_ lock: ObjectLock) -> FileLock {
    let kind: FileLock.Kind =
      switch lock.kind {
      case .none: .none
      case .shared: .shared
      case .exclusive: .exclusive
      }
    return FileLock(
      kind: kind, isWhole: lock.isWhole, owner: lock.owner, range: lock.range,
      process: lock.process)
  }
}

extension FuseRequest {
  fileprivate func failLock(_ code: ReplyCode) {
    let hasNoLocks = code == .illegalRequest || code == .noServerResources
    if hasNoLocks { fail(FuseError.noLocks) } else { fail(code) }
  }
}
