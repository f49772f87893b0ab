public import VProtocol
public import VRuntime

/// The attributes of objects.
extension Call {
  /// Describes an object; with `open`, the object of this instance.
  ///
  /// A prefix whose manager is down is described as it was last seen.
  public func describe(
    _ id: ObjectID, _ open: OpenID?, then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    guard let known = client.objects[id] else { return then(.refused(.invalidFileID)) }
    send(id, known, open, byName: { QueryObject($0) }, byInstance: { QueryInstance($0) }) {
      [client] answer in
      if case .refused(.retransmissionTimeout) = answer, let root = client.absentRoot(id, known) {
        return then(.done(root.descriptor, by: root.manager))
      }
      then(answer)
    }
  }

  /// Changes attributes of an object, then describes it.
  ///
  /// The size is changed with the rights of `open`, everything else with those of the calling user.
  public func modify(
    _ id: ObjectID, _ open: OpenID?, _ change: Modification,
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    guard let known = client.objects[id] else { return then(.refused(.invalidFileID)) }
    send(
      id, known, change.size == nil ? nil : open, byName: { ModifyObject($0, change) },
      byInstance: { ModifyInstance($0, change) }, then: then)
  }

  /// Sends an operation on the attributes of an object: on its instance if one is given, else on
  /// its context; if the context is lost, on an instance that the same user has open, since the
  /// object may have no name any more.
  ///
  /// Setting an attribute twice has the effect of setting it once.
  private func send<ByName: Operation, ByInstance: Operation>(
    _ id: ObjectID, _ known: KnownObject, _ open: OpenID?,
    byName: @escaping @Sendable (ContextName) -> ByName,
    byInstance: @escaping @Sendable (InstanceID) -> ByInstance,
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) where ByName.Answer == Descriptor, ByInstance.Answer == Descriptor {
    let end: @Sendable (Answer<Descriptor>) -> Void = { answer in
      guard case .done(let descriptor, _) = answer else { return then(answer) }
      let isSame = descriptor.identity == known.object.identity
      then(isSame ? answer : .refused(.invalidFileID))
    }
    if let open, client.opens[open] != nil {
      return use(open, mayRepeat: true, byInstance, then: end)
    }
    ask(about: id, mayRepeat: true) {
      byName($0.name)
    } then: { [self] answer in
      if case .refused(.invalidFileID) = answer,
        let open = client.opens.any(of: id, openedBy: user)
      {
        use(open, mayRepeat: true, byInstance, then: end)
      } else {
        end(answer)
      }
    }
  }
}

extension Client {
  /// The last known root of a prefix, if the object is one.
  fileprivate func absentRoot(_ id: ObjectID, _ known: KnownObject) -> NameCache.Root? {
    guard isPrefix(known), let name = objects.fullName(of: id) else { return nil }
    return names.lastSeen(name)
  }
}
