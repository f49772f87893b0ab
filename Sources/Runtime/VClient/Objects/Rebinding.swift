public import VProtocol
internal import VRuntime

/// The target of an operation on a known object, and the way it is found again.
extension Client {
  /// The target of an operation: an object, or a name below it, and perhaps another object of the
  /// same manager.
  public struct Target: Sendable {
    public var manager: EntityID
    public var name: ContextName
    /// The context of the second object; `none` without one.
    public var other: ContextID
  }

  /// No operation can be sent on an object.
  struct Impossible: Error { var code: ReplyCode }

  func target(
    _ id: ObjectID, _ name: [UInt8] = [], and other: ObjectID? = nil
  ) -> Result<Target, Impossible> {
    guard name.count <= Descriptor.nameBytesMax else {
      return .failure(Impossible(code: .nameTooLong))
    }
    guard let object = objects[id]?.object,
      let second = other.map({ objects[$0]?.object }) ?? object
    else { return .failure(Impossible(code: .invalidFileID)) }
    // Context `none` in a request would mean the manager's root.
    guard object.context != .none, second.context != .none else {
      return .failure(Impossible(code: .noServerResources))
    }
    guard object.manager == second.manager else {
      return .failure(Impossible(code: .differentManager))
    }
    return .success(
      Target(
        manager: object.manager, name: ContextName(object.context, name),
        other: other == nil ? .none : second.context))
  }

  /// Finds the objects of a refused target again; `then` gets `ok`, or the reason why they cannot
  /// be used.
  func rebind(
    _ id: ObjectID, and other: ObjectID? = nil, refused: Target, _ code: ReplyCode,
    as user: ClientUser, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    rebind(id, refused.manager, refused.name.context, code, as: user) { [self] outcome in
      guard outcome.isOK, let other else { return then(outcome) }
      rebind(other, refused.manager, refused.other, code, as: user, then: then)
    }
  }

  /// Looks up an object by its full name, unless that was done since it was refused.
  private func rebind(
    _ id: ObjectID, _ manager: EntityID, _ context: ContextID, _ code: ReplyCode,
    as user: ClientUser, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard let object = objects[id]?.object, let name = objects.fullName(of: id) else {
      return then(.invalidFileID)
    }
    guard object.manager == manager, object.context == context else { return then(.ok) }
    guard name.count <= ContextName.nameBytesMax else { return then(code) }
    find(id, object, ContextName(nameSpace.root, name), at: nameSpace.directory, as: user) {
      [self] outcome in
      guard [.nonexistentEntity, .outcomeUnknown, .invalidContext].contains(outcome) else {
        return then(outcome)
      }
      // The directory forwarded the request to a manager that has ended: ask for the present one.
      names.query(name) { [self] answer in
        guard case .done(let found, _) = answer, found.kind == .context else {
          return then(outcome)
        }
        let rest = Array(name[found.prefixBytes...].drop { $0 == UInt8(ascii: "/") })
        find(id, object, ContextName(found.context, rest), at: found.manager, as: user, then: then)
      }
    }
  }

  /// Looks up a name, and accepts the object if it is the known one.
  private func find(
    _ id: ObjectID, _ object: KnownObject.Object, _ name: ContextName, at manager: EntityID,
    as user: ClientUser, then: @escaping @Sendable (ReplyCode) -> Void
  ) {
    clients.send(QueryObject(name), as: user, to: manager) { [self] answer in
      switch answer {
      case .done(let descriptor, let manager):
        guard descriptor.identity == object.identity else { return then(.invalidFileID) }
        note(descriptor, of: manager)
        objects.rebind(id, manager: manager, context: descriptor.context)
        then(.ok)
      case .refused(.notFound), .refused(.notContext): then(.invalidFileID)
      case .refused(let refusal): then(refusal.code)
      }
    }
  }
}
