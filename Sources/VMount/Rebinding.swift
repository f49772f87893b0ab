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
extension Mount {
  /// The contexts of one or two nodes of the same manager.
  struct Contexts: Sendable {
    var manager: EntityID
    var object: ContextID
    /// Of the second node; `none` where there is one node only.
    var other: ContextID
  }

  /// Sends what `make` says about one node, or about two of one manager.
  ///
  /// Refused here are `invalidFileID` for a node that is not known, `noServerResources` for an
  /// object that was granted no context, and `differentManager` for two nodes that have no manager
  /// in common.
  func ask<Op: Operation>(
    about id: NodeID, and other: NodeID? = nil, for request: FuseRequest?,
    as user: String? = nil, mayRepeat: Bool = Op.isIdempotent, mustEnd: Bool = false,
    undo: (@Sendable () -> Void)? = nil,
    takeDescriptor: (@Sendable (PassedDescriptor) -> Void)? = nil,
    _ make: @escaping @Sendable (Contexts) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let contexts: Contexts
    switch self.contexts(of: id, and: other) {
    case .failure(let refusal): return then(.refused(refusal.code))
    case .success(let known): contexts = known
    }
    let user = user ?? request!.user
    send(
      make(contexts), to: contexts.manager, for: request, as: user, mustEnd: mustEnd, undo: undo,
      takeDescriptor: takeDescriptor
    ) { [self] answer in
      guard case .refused(let code) = answer else { return then(answer) }
      noteAbsence(of: contexts.manager, code)
      guard Self.asksForRebinding(code) else { return then(answer) }
      rebindBoth(id, and: other, refused: contexts, code, for: request, as: user) {
        [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Self.wasRefused(code) else { return then(.refused(.deviceError)) }
        switch self.contexts(of: id, and: other) {
        case .failure(let refusal): then(.refused(refusal.code))
        case .success(let contexts):
          send(
            make(contexts), to: contexts.manager, for: request, as: user, mustEnd: mustEnd,
            undo: undo, takeDescriptor: takeDescriptor, completion: then)
        }
      }
    }
  }

  /// Sends what `make` says about the instance of a handle; `undo` as for a request.
  func use<Op: Operation>(
    _ id: HandleID, for request: FuseRequest, mayRepeat: Bool = Op.isIdempotent,
    mustEnd: Bool = false, undo: (@Sendable () -> Void)? = nil,
    _ make: @escaping @Sendable (InstanceID) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard let handle = handles[id] else { return then(.refused(.notReadable)) }
    guard !handle.isBroken else { return then(.refused(.deviceError)) }
    request.send(
      make(handle.instance), to: handle.manager, as: handle.user, mustEnd: mustEnd, undo: undo
    ) { [self] answer in
      guard case .refused(let code) = answer else { return then(answer) }
      noteAbsence(of: handle.manager, code)
      // What a stream had in it is gone with its instance.
      guard handle.undo == nil, code == .invalidFileID || Self.asksForRebinding(code) else {
        return then(answer)
      }
      reopen(id, lost: handle) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Self.wasRefused(code) else { return then(.refused(.deviceError)) }
        guard let handle = handles[id] else { return then(.refused(.invalidFileID)) }
        request.send(
          make(handle.instance), to: handle.manager, as: handle.user, mustEnd: mustEnd,
          undo: undo, completion: then)
      }
    }
  }

  /// Sends for a request, which a signal may end, or for all requests that need the outcome.
  private func send<Op: Operation>(
    _ operation: Op, to manager: EntityID, for request: FuseRequest?, as user: String,
    mustEnd: Bool = false, undo: (@Sendable () -> Void)? = nil,
    takeDescriptor: (@Sendable (PassedDescriptor) -> Void)? = nil,
    completion: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard let request else {
      clients.send(
        operation, as: user, to: manager, takeDescriptor: takeDescriptor, completion: completion)
      return
    }
    request.send(
      operation, to: manager, as: user, mustEnd: mustEnd, undo: undo,
      takeDescriptor: takeDescriptor, completion: completion)
  }

  /// A manager that is gone or silent or does not know its contexts may have lost its prefix to
  /// another one: the next use of the prefix asks.
  func noteAbsence(of manager: EntityID, _ code: ReplyCode) {
    if Self.asksForRebinding(code) { names.forget(manager) }
  }

  private static func asksForRebinding(_ code: ReplyCode) -> Bool {
    // A silent manager may have come back somewhere else, as another entity.
    [.invalidContext, .nonexistentEntity, .outcomeUnknown, .retransmissionTimeout].contains(code)
  }

  /// The operation was surely not done.
  private static func wasRefused(_ code: ReplyCode) -> Bool {
    code == .invalidContext || code == .invalidFileID || code == .nonexistentEntity
  }
}

// MARK: - Nodes

extension Mount {
  private struct Refusal: Error { var code: ReplyCode }

  private func contexts(of id: NodeID, and other: NodeID?) -> Result<Contexts, Refusal> {
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
      Contexts(
        manager: object.manager, object: object.context,
        other: other == nil ? .none : second.context))
  }

  private func rebindBoth(
    _ id: NodeID, and other: NodeID?, refused: Contexts, _ code: ReplyCode,
    for request: FuseRequest?, as user: String, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    rebind(id, refused.manager, refused.object, code, for: request, as: user) {
      [self] outcome in
      guard outcome.isOK, let other else { return then(outcome) }
      rebind(
        other, refused.manager, refused.other, code, for: request, as: user, then: then)
    }
  }

  /// Looks for the object of a node by its full name, unless that was done since it was refused.
  private func rebind(
    _ id: NodeID, _ manager: EntityID, _ context: ContextID, _ code: ReplyCode,
    for request: FuseRequest?, as user: String, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let object = nodes[id]?.object, let name = nodes.fullName(of: id) else {
      return then(.invalidFileID)
    }
    guard object.manager == manager, object.context == context else { return then(.ok) }
    guard name.count <= ContextName.nameBytesMax else { return then(code) }
    find(
      id, object, ContextName(nameSpace.root, name), at: nameSpace.directory, for: request,
      as: user
    ) { [self] outcome in
      guard [.nonexistentEntity, .outcomeUnknown, .invalidContext].contains(outcome) else {
        return then(outcome)
      }
      // The directory sent the question to a manager that is gone: who has the prefix now?
      names.query(name) { [self] answer in
        guard case .done(let found, _) = answer, found.kind == .context else {
          return then(outcome)
        }
        let rest = Array(name[found.prefixBytes...].drop { $0 == UInt8(ascii: "/") })
        find(
          id, object, ContextName(found.context, rest), at: found.manager, for: request,
          as: user, then: then)
      }
    }
  }

  /// Asks for the object of a name, and takes it if it is the one that the node stands for.
  private func find(
    _ id: NodeID, _ object: Node.Object, _ name: ContextName, at manager: EntityID,
    for request: FuseRequest?, as user: String, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    send(QueryObject(name), to: manager, for: request, as: user) { [self] answer in
      switch answer {
      case .done(let descriptor, let manager):
        guard descriptor.identity == object.identity else { return then(.invalidFileID) }
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
  private func reopen(
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
    ask(about: lost.node, for: nil, as: lost.user, mayRepeat: true, mustEnd: true) {
      [owner] contexts in
      CreateInstance(ContextName(contexts.object), mode: lost.mode, owner: owner)
    } then: { [self] answer in
      switch answer {
      case .done(let created, let manager):
        guard created.descriptor.identity == nodes[lost.node]?.object.identity else {
          release(created.instance, of: manager, as: lost.user)
          return end(.invalidFileID)
        }
        relock(id, lost, created.instance, of: manager) { [self] outcome in
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

  /// Asks for the locks of a handle again; without one of them the handle is of no use any more.
  private func relock(
    _ id: HandleID, _ lost: Handle, _ instance: InstanceID, of manager: EntityID,
    then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let held = locks.all(of: id, at: manager)
    relock(held[...], id, lost, instance, of: manager, then: then)
  }

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
  private static let withdrawalsMax = 15
  private static let withdrawalInterval = TimeSpan.seconds(1)

  /// Sees to it that a manager which fell silent does not go on with an operation whose outcome
  /// nobody will know; `undo` is called if it has been done by then.
  func withdraw(
    _ wait: FuseRequest.Wait, triesLeft: Int = Mount.withdrawalsMax,
    _ undo: @escaping @Sendable () -> Void
  ) {
    clients.send(CancelWait(wait.client), as: wait.user, to: wait.manager) { [self] answer in
      guard case .refused(let code) = answer, triesLeft > 0 else { return }
      if code == .notFound { return undo() }
      guard code == .retransmissionTimeout else { return }
      backplane.after(Self.withdrawalInterval) { [self] in
        withdraw(wait, triesLeft: triesLeft - 1, undo)
      }
    }
  }

  /// Ends an instance; no program waits for that, so a manager that is silent is told later.
  func release(
    _ instance: InstanceID, of manager: EntityID, as user: String,
    triesLeft: Int = Mount.withdrawalsMax, then: @escaping @Sendable () -> Void = {}
  ) {
    clients.send(ReleaseInstance(instance), as: user, to: manager) { [self] answer in
      guard case .refused(.retransmissionTimeout) = answer, triesLeft > 0 else { return then() }
      backplane.after(Self.withdrawalInterval) { [self] in
        release(instance, of: manager, as: user, triesLeft: triesLeft - 1, then: then)
      }
    }
  }
}
