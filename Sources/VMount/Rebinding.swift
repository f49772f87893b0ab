internal import VProtocol
internal import VRuntime

/// Operations on what a node or a handle stands for, and how it is found again when its manager
/// no longer knows it.
///
/// A manager drops contexts from its bounded table (`invalidContext`) and loses all of them and
/// every instance when it is started anew (`nonexistentEntity`). The object is then looked for by
/// its full name, and used if it is the same object; if another one has the name now, or none,
/// the answer is `invalidFileID` (ESTALE). The operation is sent at most twice. One that must not
/// be done twice is not sent again to a new manager, because the old one may have done it: its
/// outcome is reported as unknown (`deviceError`).
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
    about id: NodeID, and other: NodeID? = nil, for request: FuseRequest,
    as user: String? = nil, mayRepeat: Bool = Op.isIdempotent, mustEnd: Bool = false,
    takeDescriptor: (@Sendable (PassedDescriptor) -> Void)? = nil,
    _ make: @escaping @Sendable (Contexts) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let contexts: Contexts
    switch self.contexts(of: id, and: other) {
    case .failure(let refusal): return then(.refused(refusal.code))
    case .success(let known): contexts = known
    }
    request.send(
      make(contexts), to: contexts.manager, as: user, mustEnd: mustEnd,
      takeDescriptor: takeDescriptor
    ) { [self] answer in
      guard case .refused(let code) = answer else { return then(answer) }
      noteAbsence(of: contexts.manager, code)
      guard Self.asksForRebinding(code) else { return then(answer) }
      rebindBoth(id, and: other, refused: contexts, code, for: request) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || code == .invalidContext else { return then(.refused(.deviceError)) }
        switch self.contexts(of: id, and: other) {
        case .failure(let refusal): then(.refused(refusal.code))
        case .success(let contexts):
          request.send(
            make(contexts), to: contexts.manager, as: user, mustEnd: mustEnd,
            takeDescriptor: takeDescriptor, completion: then)
        }
      }
    }
  }

  /// Sends what `make` says about the instance of a handle.
  func use<Op: Operation>(
    _ id: HandleID, for request: FuseRequest, mayRepeat: Bool = Op.isIdempotent,
    _ make: @escaping @Sendable (InstanceID) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard let handle = handles[id] else { return then(.refused(.notReadable)) }
    request.send(make(handle.instance), to: handle.manager, as: handle.user) { [self] answer in
      guard case .refused(let code) = answer else { return then(answer) }
      noteAbsence(of: handle.manager, code)
      guard code == .invalidFileID || Self.asksForRebinding(code) else { return then(answer) }
      reopen(id, lost: handle, for: request) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || code == .invalidFileID else { return then(.refused(.deviceError)) }
        guard let handle = handles[id] else { return then(.refused(.invalidFileID)) }
        request.send(
          make(handle.instance), to: handle.manager, as: handle.user, completion: then)
      }
    }
  }

  /// A manager that is gone or silent may have lost its prefix to another one: the next use of
  /// the prefix asks.
  private func noteAbsence(of manager: EntityID, _ code: ReplyCode) {
    if code == .nonexistentEntity || code == .retransmissionTimeout { names.forget(manager) }
  }

  private static func asksForRebinding(_ code: ReplyCode) -> Bool {
    // A silent manager may have come back somewhere else, as another entity.
    code == .invalidContext || code == .nonexistentEntity || code == .retransmissionTimeout
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
    for request: FuseRequest, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    rebind(id, refused.manager, refused.object, code, for: request) { [self] outcome in
      guard outcome.isOK, let other else { return then(outcome) }
      rebind(other, refused.manager, refused.other, code, for: request, then: then)
    }
  }

  /// Looks for the object of a node by its full name, unless that was done since it was refused.
  private func rebind(
    _ id: NodeID, _ manager: EntityID, _ context: ContextID, _ code: ReplyCode,
    for request: FuseRequest, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let object = nodes[id]?.object, let name = nodes.fullName(of: id) else {
      return then(.invalidFileID)
    }
    guard object.manager == manager, object.context == context else { return then(.ok) }
    guard name.count <= ContextName.nameBytesMax else { return then(code) }
    find(
      id, object, ContextName(nameSpace.root, name), at: nameSpace.directory, for: request
    ) { [self] outcome in
      guard outcome == .nonexistentEntity || outcome == .invalidContext else {
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
          then: then)
      }
    }
  }

  /// Asks for the object of a name, and takes it if it is the one that the node stands for.
  private func find(
    _ id: NodeID, _ object: Node.Object, _ name: ContextName, at manager: EntityID,
    for request: FuseRequest, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    request.send(QueryObject(name), to: manager) { [self] answer in
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
  /// Makes the instance of a handle again, unless that was done since it was lost.
  private func reopen(
    _ id: HandleID, lost: Handle, for request: FuseRequest,
    then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let handle = handles[id] else { return then(.invalidFileID) }
    guard handle.instance == lost.instance, handle.manager == lost.manager else {
      return then(.ok)
    }
    ask(about: lost.node, for: request, as: lost.user, mayRepeat: true, mustEnd: true) {
      [owner] contexts in
      CreateInstance(ContextName(contexts.object), mode: lost.mode, owner: owner)
    } then: { [self] answer in
      switch answer {
      case .done(let created, let manager):
        let isSame = created.descriptor.identity == nodes[lost.node]?.object.identity
        if !isSame || !handles.replace(id, lost: lost, by: manager, created.instance) {
          release(created.instance, of: manager, as: lost.user)
        }
        then(isSame ? .ok : .invalidFileID)
      case .refused(.notFound): then(.invalidFileID)
      case .refused(let code): then(code)
      }
    }
  }

  /// Ends an instance; nobody waits for the answer.
  func release(_ instance: InstanceID, of manager: EntityID, as user: String) {
    clients.send(ReleaseInstance(instance), as: user, to: manager) { _ in }
  }
}
