internal import Synchronization
internal import VProtocol
internal import VRuntime

/// Opening an instance again that its manager has lost, with the locks that were held through it.
extension Client {
  /// Opens the instance of an open object again, unless that was done since it was lost.
  ///
  /// It is done once for all calls that found the instance lost, so no signal ends it.
  func reopen(
    _ id: OpenID, lost: OpenObject, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let isFirst = reopening.withLock { waiting in
      defer { waiting[id, default: []].append(then) }
      return waiting[id] == nil
    }
    guard isFirst else { return }
    let end = { @Sendable [self] (outcome: ReplyCode) in
      for then in reopening.withLock({ $0.removeValue(forKey: id) ?? [] }) { then(outcome) }
    }
    guard let open = opens[id], !open.isSnapshot else { return end(.invalidFileID) }
    guard !open.isBroken else { return end(.deviceError) }
    guard open.instance == lost.instance, open.manager == lost.manager else { return end(.ok) }
    makeAgain(lost) { [self] answer in
      switch answer {
      case .done(let created, let manager):
        guard created.descriptor.identity == objects[lost.object]?.object.identity else {
          release(created.instance, of: manager, as: lost.user)
          return end(.invalidFileID)
        }
        relock(locks.all(of: id, at: manager)[...], id, lost, created.instance, of: manager) {
          [self] outcome in
          if outcome.isOK && opens.replace(id, lost: lost, by: manager, created.instance) {
            return end(.ok)
          }
          release(created.instance, of: manager, as: lost.user)
          end(outcome.isOK ? .invalidFileID : outcome)
        }
      case .refused(.notFound): end(.invalidFileID)
      case .refused(let refusal): end(refusal.code)
      }
    }
  }

  /// Opens a new instance of a lost one's object, which is looked up if needed.
  private func makeAgain(
    _ lost: OpenObject, isAgain: Bool = false,
    then: @escaping @Sendable (Answer<CreateInstance.Answer>) -> Void
  ) {
    switch target(lost.object) {
    case .failure(let impossible): then(.refused(impossible.code))
    case .success(let target):
      clients.send(
        CreateInstance(target.name, mode: lost.mode, owner: owner), as: lost.user,
        to: target.manager
      ) { [self] answer in
        guard case .refused(let refusal) = answer, !isAgain,
          Self.asksForRebinding(refusal.code)
        else {
          return then(answer)
        }
        noteAbsence(of: target.manager, refusal.code)
        rebind(lost.object, refused: target, refusal.code, as: lost.user) { [self] outcome in
          guard outcome.isOK else { return then(.refused(outcome)) }
          makeAgain(lost, isAgain: true, then: then)
        }
      }
    }
  }

  /// Reclaims the locks of a lost instance; without one of them it can no longer be used.
  private func relock(
    _ held: ArraySlice<(lock: ObjectLock, since: UInt64)>, _ id: OpenID, _ lost: OpenObject,
    _ instance: InstanceID, of manager: EntityID, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let (lock, since) = held.first else { return then(.ok) }
    clients.send(
      LockInstance(instance, lock, .reclaiming, grant: since), as: lost.user, to: manager
    ) { [self] answer in
      switch answer {
      case .done(let answer, _):
        let key = HeldLocks.Key(object: lost.object, owner: lock.owner, isWhole: lock.isWhole)
        locks.note(lock, key, id, by: manager, grant: answer.grant)
        relock(held.dropFirst(), id, lost, instance, of: manager, then: then)
      case .refused(let refusal):
        // Who is away can not have given the lock away: the next use asks again.
        guard refusal.code != .retransmissionTimeout else { return then(refusal.code) }
        opens.markBroken(id)
        then(.deviceError)
      }
    }
  }
}
