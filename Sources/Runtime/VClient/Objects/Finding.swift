public import VProtocol
public import VRuntime

/// LOOKUP: the manager of an object answers for names below it.
///
/// Below a shared context the directory answers, or forwards the request to the manager of the
/// prefix.
extension Call {
  /// The object of a name below another object; `enter` then makes it known.
  ///
  /// For a prefix whose manager is down, the answer is what was last seen of it, with that manager.
  public func find(
    _ name: [UInt8], below parent: ObjectID,
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    guard name.count <= Descriptor.nameBytesMax else { return then(.refused(.nameTooLong)) }
    guard let object = client.objects[parent]?.object else {
      return then(.refused(.invalidFileID))
    }
    if object.kind == .sharedContext {
      return findPrefix(name, below: parent, object, then: then)
    }
    ask(about: parent, name) {
      QueryObject($0.name)
    } then: { [client] answer in
      let now = client.objects[parent]?.object
      var isStale = now?.manager != object.manager || now?.context != object.context
      if case .refused(let refusal) = answer {
        let isLost = refusal.code == .invalidFileID || Client.asksForRebinding(refusal.code)
        isStale = isStale || isLost
      }
      client.names.countLookup(isStale: isStale)
      then(answer)
    }
  }

  /// A prefix in the cache needs no question: its attributes have no validity time, so a caller
  /// that wants them asks the manager.
  private func findPrefix(
    _ name: [UInt8], below parent: ObjectID, _ context: KnownObject.Object,
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    if parent == ObjectTable.root, let own = client.ownName, name == own.name {
      client.names.countLookup(isStale: false)
      return send(QueryObject(ContextName(own.context)), to: own.manager, then: then)
    }
    let fullName = client.fullName(parent, name)
    if let root = client.names.root(of: fullName) {
      return then(.done(root.descriptor, by: root.manager))
    }
    send(QueryObject(ContextName(context.context, name)), to: context.manager) {
      [self] answer in
      switch answer {
      case .refused(.nonexistentEntity), .refused(.outcomeUnknown), .refused(.invalidContext):
        searchPrefix(fullName, context, name, then: then)
      case .refused(.retransmissionTimeout):
        describeAbsent(fullName, context, name, then: then)
      default:
        if case .done(let descriptor, let manager) = answer, manager != context.manager {
          client.names.remember(descriptor, of: manager, for: fullName)
        }
        then(answer)
      }
    }
  }

  /// The directory forwarded the request to a manager that has ended: asks which manager has the
  /// prefix now.
  ///
  /// If none has, the name is not free, but its manager is down.
  private func searchPrefix(
    _ fullName: [UInt8], _ context: KnownObject.Object, _ name: [UInt8],
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    guard fullName.count <= ContextName.nameBytesMax else { return then(.refused(.nameTooLong)) }
    client.names.query(fullName) { [self] answer in
      guard case .done(let found, _) = answer, found.kind == .context,
        found.prefixBytes == fullName.count
      else { return describeAbsent(fullName, context, name, then: then) }
      send(QueryObject(ContextName(found.context)), to: found.manager) { [self] answer in
        switch answer {
        case .done(let descriptor, let manager):
          client.names.remember(descriptor, of: manager, for: fullName)
        case .refused(let refusal): client.noteAbsence(of: found.manager, refusal.code)
        }
        then(answer)
      }
    }
  }

  /// Describes a name whose manager is down, so that a listing of hosts need not fail.
  ///
  /// The prefix is described as it was last seen, or, if it never was, from its claim; then only
  /// its name and kind are true.
  private func describeAbsent(
    _ fullName: [UInt8], _ context: KnownObject.Object, _ name: [UInt8],
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    if let root = client.names.lastSeen(fullName) {
      return then(.done(root.descriptor, by: root.manager))
    }
    send(QueryName(ContextName(context.context, name)), to: context.manager) { [self] answer in
      guard case .done(let claim, _) = answer, claim.kind == .context else {
        return then(.refused(.retransmissionTimeout))
      }
      var descriptor = Descriptor(
        kind: .context,
        identity: Descriptor.Identity(
          device: claim.manager.rawValue, inode: claim.context.rawValue, generation: 0))
      descriptor.context = claim.context
      descriptor.permissions = 0o755
      descriptor.links = 2
      client.names.remember(descriptor, of: claim.manager, for: fullName)
      then(.done(descriptor, by: claim.manager))
    }
  }
}

extension Client {
  /// Makes an object known under the name by which it was found, and counts one lookup of it.
  ///
  /// The lookup is counted before the answer is delivered: one lookup too many only leaks.
  public func enter(
    _ descriptor: Descriptor, of manager: EntityID, below parent: ObjectID, _ name: [UInt8]
  ) -> (id: ObjectID, known: KnownObject) {
    note(descriptor, of: manager)
    let above = objects[parent]?.object
    // Another manager's prefix starts a new tree.
    let tree = above?.manager == manager ? above?.tree : nil
    let object = KnownObject.Object(
      tree: tree ?? Tree(prefix: fullName(parent, name)), identity: descriptor.identity,
      kind: descriptor.kind, isStream: descriptor.attributes.contains(.stream),
      manager: manager, context: descriptor.context)
    return objects.lookUp(name, below: parent, as: object)
  }

  /// Whether an object is known by a prefix: its parent is a shared context.
  public func isPrefix(_ known: KnownObject) -> Bool {
    objects[known.parent]?.object.kind == .sharedContext
  }

  /// The prefix that the manager of an object claimed; empty above all prefixes.
  public func prefix(of id: ObjectID) -> [UInt8] {
    var id = id
    while let known = objects[id], let parent = objects[known.parent]?.object,
      parent.kind != .sharedContext
    {
      id = known.parent
    }
    guard objects[id]?.object.kind != .sharedContext else { return [] }
    return objects.fullName(of: id) ?? []
  }

  fileprivate func fullName(_ parent: ObjectID, _ name: [UInt8]) -> [UInt8] {
    let front = objects.fullName(of: parent) ?? []
    return front.isEmpty ? name : front + [UInt8(ascii: "/")] + name
  }
}
