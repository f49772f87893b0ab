internal import Synchronization
internal import VProtocol
internal import VRuntime

/// Operations on what a node or a handle stands for, and how it is found again when its manager
/// no longer knows it.
///
/// A manager drops contexts from its bounded table (`invalidContext`) and loses all of them and
/// every instance when it is started anew (`nonexistentEntity`). The object is then looked for by
/// its full name, and used if it is the same object; if another one has the name now, or none,
/// the answer is `invalidFileID` (ESTALE). The operation is sent at most twice. One that must not
/// be done twice is not sent again where the old manager may have done it: its outcome is reported
/// as unknown (`deviceError`).
extension FuseRequest {
  /// Sends what `make` says about a node, or about a name below it, or about two nodes of one
  /// manager.
  ///
  /// Refused here are `invalidFileID` for a node that is not known, `noServerResources` for an
  /// object that was granted no context, `differentManager` for two nodes that have no manager in
  /// common, and `nameTooLong`.
  func ask<Op: Operation>(
    about id: NodeID, _ name: [UInt8] = [], and other: NodeID? = nil,
    mayRepeat: Bool = Op.isIdempotent, mustEnd: Bool = false,
    undo: (@Sendable () -> Void)? = nil, isAgain: Bool = false,
    _ make: @escaping @Sendable (Mount.Target) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let target: Mount.Target
    switch mount.target(id, name, and: other) {
    case .failure(let refusal): return then(.refused(refusal.code))
    case .success(let known): target = known
    }
    send(make(target), to: target.manager, mustEnd: mustEnd, undo: undo) { [self] answer in
      guard !isAgain, case .refused(let code) = answer else { return then(answer) }
      mount.noteAbsence(of: target.manager, code)
      guard Mount.asksForRebinding(code) else { return then(answer) }
      mount.rebind(id, and: other, refused: target, code, as: user) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Mount.wasRefused(code) else { return then(.refused(.deviceError)) }
        ask(
          about: id, name, and: other, mustEnd: mustEnd, undo: undo, isAgain: true, make,
          then: then)
      }
    }
  }

  /// Sends what `make` says about the instance of a handle; `undo` as for a request.
  func use<Op: Operation>(
    _ id: HandleID, mayRepeat: Bool = Op.isIdempotent, mustEnd: Bool = false,
    undo: (@Sendable () -> Void)? = nil, isAgain: Bool = false,
    _ make: @escaping @Sendable (InstanceID) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard let handle = mount.handles[id] else { return then(.refused(.notReadable)) }
    guard !handle.isBroken else { return then(.refused(.deviceError)) }
    send(
      make(handle.instance), to: handle.manager, as: handle.user, mustEnd: mustEnd, undo: undo
    ) { [self] answer in
      guard !isAgain, case .refused(let code) = answer else { return then(answer) }
      mount.noteAbsence(of: handle.manager, code)
      // What a stream had in it is gone with its instance, whatever had been done.
      guard handle.undo == nil, code == .invalidFileID || Mount.asksForRebinding(code) else {
        return then(code == .outcomeUnknown ? .refused(.nonexistentEntity) : answer)
      }
      mount.reopen(id, lost: handle) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Mount.wasRefused(code) else { return then(.refused(.deviceError)) }
        use(id, mustEnd: mustEnd, undo: undo, isAgain: true, make, then: then)
      }
    }
  }
}

extension Mount {
  /// A manager that is gone or silent or does not know its contexts may have lost its prefix to
  /// another one: the next use of the prefix asks.
  func noteAbsence(of manager: EntityID, _ code: ReplyCode) {
    if Self.asksForRebinding(code) { names.forget(manager) }
  }

  fileprivate static func asksForRebinding(_ code: ReplyCode) -> Bool {
    // A silent manager may have come back somewhere else, as another entity.
    [.invalidContext, .nonexistentEntity, .outcomeUnknown, .retransmissionTimeout].contains(code)
  }

  /// The operation was surely not done.
  fileprivate static func wasRefused(_ code: ReplyCode) -> Bool {
    code == .invalidContext || code == .invalidFileID || code == .nonexistentEntity
  }
}

// MARK: - Nodes

extension Mount {
  /// What an operation is about: a node, or a name below it, and perhaps another node of the same
  /// manager.
  struct Target: Sendable {
    var manager: EntityID
    var name: ContextName
    /// Of the second node; `none` where there is one node only.
    var other: ContextID
  }

  fileprivate struct Refusal: Error { var code: ReplyCode }

  fileprivate func target(
    _ id: NodeID, _ name: [UInt8] = [], and other: NodeID? = nil
  ) -> Result<Target, Refusal> {
    guard name.count <= Descriptor.nameBytesMax else {
      return .failure(Refusal(code: .nameTooLong))
    }
    guard let object = nodes[id]?.object, let second = other.map({ nodes[$0]?.object }) ?? object
    else { return .failure(Refusal(code: .invalidFileID)) }
    // A request in context `none` would mean the manager's root.
    guard object.context != .none, second.context != .none else {
      return .failure(Refusal(code: .noServerResources))
    }
    guard object.manager == second.manager else {
      return .failure(Refusal(code: .differentManager))
    }
    return .success(
      Target(
        manager: object.manager, name: ContextName(object.context, name),
        other: other == nil ? .none : second.context))
  }

  fileprivate func rebind(
    _ id: NodeID, and other: NodeID? = nil, refused: Target, _ code: ReplyCode, as user: ClientUser,
    then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    rebind(id, refused.manager, refused.name.context, code, as: user) { [self] outcome in
      guard outcome.isOK, let other else { return then(outcome) }
      rebind(other, refused.manager, refused.other, code, as: user, then: then)
    }
  }

  /// Looks for the object of a node by its full name, unless that was done since it was refused.
  private func rebind(
    _ id: NodeID, _ manager: EntityID, _ context: ContextID, _ code: ReplyCode, as user: ClientUser,
    then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let object = nodes[id]?.object, let name = nodes.fullName(of: id) else {
      return then(.invalidFileID)
    }
    guard object.manager == manager, object.context == context else { return then(.ok) }
    guard name.count <= ContextName.nameBytesMax else { return then(code) }
    find(id, object, ContextName(nameSpace.root, name), at: nameSpace.directory, as: user) {
      [self] outcome in
      guard [.nonexistentEntity, .outcomeUnknown, .invalidContext].contains(outcome) else {
        return then(outcome)
      }
      // The directory sent the question to a manager that is gone: who has the prefix now?
      names.query(name) { [self] answer in
        guard case .done(let found, _) = answer, found.kind == .context else {
          return then(outcome)
        }
        let rest = Array(name[found.prefixBytes...].drop { $0 == UInt8(ascii: "/") })
        find(id, object, ContextName(found.context, rest), at: found.manager, as: user, then: then)
      }
    }
  }

  /// Asks for the object of a name, and takes it if it is the one that the node stands for.
  private func find(
    _ id: NodeID, _ object: Node.Object, _ name: ContextName, at manager: EntityID,
    as user: ClientUser, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    clients.send(QueryObject(name), as: user, to: manager) { [self] answer in
      switch answer {
      case .done(let descriptor, let manager):
        guard descriptor.identity == object.identity else { return then(.invalidFileID) }
        note(descriptor, of: manager)
        nodes.rebind(id, manager: manager, context: descriptor.context)
        then(.ok)
      case .refused(.notFound), .refused(.notContext): then(.invalidFileID)
      case .refused(let code): then(code)
      }
    }
  }
}

// MARK: - Handles

extension Mount {
  /// Makes the instance of a handle again, with its locks, unless that was done since it was lost.
  ///
  /// It is done once for all requests that found the instance lost, so no signal ends it.
  fileprivate func reopen(
    _ id: HandleID, lost: Handle, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let isFirst = reopening.withLock { waiting in
      defer { waiting[id, default: []].append(then) }
      return waiting[id] == nil
    }
    guard isFirst else { return }
    let end = { @Sendable [self] (outcome: ReplyCode) in
      for then in reopening.withLock({ $0.removeValue(forKey: id) ?? [] }) { then(outcome) }
    }
    guard let handle = handles[id], !handle.isSnapshot else { return end(.invalidFileID) }
    guard !handle.isBroken else { return end(.deviceError) }
    guard handle.instance == lost.instance, handle.manager == lost.manager else { return end(.ok) }
    open(lost) { [self] answer in
      switch answer {
      case .done(let created, let manager):
        guard created.descriptor.identity == nodes[lost.node]?.object.identity else {
          release(created.instance, of: manager, as: lost.user)
          return end(.invalidFileID)
        }
        relock(locks.all(of: id, at: manager)[...], id, lost, created.instance, of: manager) {
          [self] outcome in
          if outcome.isOK && handles.replace(id, lost: lost, by: manager, created.instance) {
            return end(.ok)
          }
          release(created.instance, of: manager, as: lost.user)
          end(outcome.isOK ? .invalidFileID : outcome)
        }
      case .refused(.notFound): end(.invalidFileID)
      case .refused(let code): end(code)
      }
    }
  }

  /// A new instance of the object of a handle, which is looked for if need be.
  private func open(
    _ lost: Handle, isAgain: Bool = false,
    then: @escaping @Sendable (Answer<CreateInstance.Answer>) -> Void
  ) {
    switch target(lost.node) {
    case .failure(let refusal): then(.refused(refusal.code))
    case .success(let target):
      clients.send(
        CreateInstance(target.name, mode: lost.mode, owner: owner), as: lost.user,
        to: target.manager
      ) { [self] answer in
        guard case .refused(let code) = answer, !isAgain, Self.asksForRebinding(code) else {
          return then(answer)
        }
        noteAbsence(of: target.manager, code)
        rebind(lost.node, refused: target, code, as: lost.user) { [self] outcome in
          guard outcome.isOK else { return then(.refused(outcome)) }
          open(lost, isAgain: true, then: then)
        }
      }
    }
  }

  /// Asks for the locks of a handle again; without one of them the handle is of no use any more.
  private func relock(
    _ held: ArraySlice<(lock: ObjectLock, since: UInt64)>, _ id: HandleID, _ lost: Handle,
    _ instance: InstanceID, of manager: EntityID, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let (lock, since) = held.first else { return then(.ok) }
    clients.send(
      LockInstance(instance, lock, .reclaiming, grant: since), as: lost.user, to: manager
    ) { [self] answer in
      switch answer {
      case .done(let answer, _):
        let key = HeldLocks.Key(node: lost.node, owner: lock.owner, isWhole: lock.isWhole)
        locks.note(lock, key, id, by: manager, grant: answer.grant)
        relock(held.dropFirst(), id, lost, instance, of: manager, then: then)
      case .refused(let code):
        // Who is away can not have given the lock away: the next use asks again.
        guard code != .retransmissionTimeout else { return then(code) }
        handles.markBroken(id)
        then(.deviceError)
      }
    }
  }
}

// MARK: - What a silent manager is told later

extension Mount {
  /// A manager that hears nothing for longer has taken back itself what this host had.
  private static let tellingsMax = 15
  private static let tellingInterval = TimeSpan.seconds(1)

  /// Sees to it that a manager which fell silent does not go on with an operation whose outcome
  /// nobody will know; `undo` is called if it has been done by then.
  ///
  /// With `client` none nothing waits there: what was asked has been done, or will never be.
  func withdraw(
    _ client: EntityID, at manager: EntityID, as user: ClientUser,
    _ undo: @escaping @Sendable () -> Void
  ) {
    tell(CancelWait(client), to: manager, as: user) { answer in
      if case .refused(.notFound) = answer { undo() }
    }
  }

  /// Ends an instance; no program waits for that, so a manager that is silent, or is asked too much
  /// by this user, is told later.
  func release(
    _ instance: InstanceID, of manager: EntityID, as user: ClientUser,
    then: @escaping @Sendable () -> Void = {}
  ) {
    tell(ReleaseInstance(instance), to: manager, as: user) { _ in then() }
  }

  private func tell<Op: Operation>(
    _ operation: Op, to manager: EntityID, as user: ClientUser, triesLeft: Int = Mount.tellingsMax,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    clients.send(operation, as: user, to: manager) { [self] answer in
      switch answer {
      case .refused(.retransmissionTimeout), .refused(.busy):
        if triesLeft == 0 { return then(answer) }
      default: return then(answer)
      }
      backplane.after(Self.tellingInterval) { [self] in
        tell(operation, to: manager, as: user, triesLeft: triesLeft - 1, then: then)
      }
    }
  }
}
