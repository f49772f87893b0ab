public import VProtocol
public import VRuntime

/// LOOKUP: a name below an object is its manager's; below a shared context the directory answers,
/// or hands the request on to the manager whose prefix the name is.
extension Call {
  /// The object that has a name below another; `enter` then makes it known.
  ///
  /// Of a prefix whose manager is away the answer is what was last seen of it, by that manager.
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
    ask(about: parent, name, { QueryObject($0.name) }, then: then)
  }

  /// A prefix in the cache is answered for without asking anybody: its attributes are valid for
  /// no time, so whoever wants them asks its manager.
  private func findPrefix(
    _ name: [UInt8], below parent: ObjectID, _ context: KnownObject.Object,
    then: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    if parent == ObjectTable.root, let own = client.ownName, name == own.name {
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

  /// The directory sent the request to a manager that is gone: asks who has the prefix now.
  ///
  /// If nobody has, the name is not free but its manager is away.
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

  /// The name is there, its manager is away: a listing of hosts need not fail for that.
  ///
  /// The prefix is described as it was last seen, or, if it never was, from its claim; then only
  /// its name and that it is a directory are true.
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
  /// The lookup is counted before anybody hears of it: one too many only leaks.
  public func enter(
    _ descriptor: Descriptor, of manager: EntityID, below parent: ObjectID, _ name: [UInt8]
  ) -> (id: ObjectID, known: KnownObject) {
    note(descriptor, of: manager)
    let above = objects[parent]?.object
    // A new tree where another manager's prefix begins.
    let tree = above?.manager == manager ? above?.tree : nil
    let object = KnownObject.Object(
      tree: tree ?? Tree(prefix: fullName(parent, name)), identity: descriptor.identity,
      kind: descriptor.kind, isStream: descriptor.attributes.contains(.stream),
      manager: manager, context: descriptor.context)
    return objects.lookUp(name, below: parent, as: object)
  }

  /// Whether an object is known by a prefix: its parent is a context that managers share.
  public func isPrefix(_ known: KnownObject) -> Bool {
    objects[known.parent]?.object.kind == .sharedContext
  }

  /// The prefix that the manager of an object claimed; empty for what lies above all prefixes.
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
