internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// LOOKUP: a name below an object is its manager's; below a shared context the directory answers,
/// or hands the request on to the manager whose prefix the name is.
extension Mount {
  func lookUp(_ request: FuseRequest, below parent: NodeID, _ name: [UInt8]) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    guard let node = nodes[parent] else { return request.fail(ESTALE) }
    guard node.object.kind != .sharedContext else {
      return lookUpPrefix(request, below: parent, node.object, name)
    }
    ask(about: parent, for: request) { contexts in
      QueryObject(ContextName(contexts.object, name))
    } then: { [self] answer in
      replyEntry(request, answer, below: parent, name)
    }
  }

  /// Answers with the entry that a descriptor makes, and counts the lookup.
  func replyEntry(
    _ request: FuseRequest, _ answer: Answer<Descriptor>, below parent: NodeID, _ name: [UInt8]
  ) {
    switch answer {
    case .refused(let code): request.fail(code)
    case .done(let descriptor, let manager):
      let (id, entry) = enter(descriptor, of: manager, below: parent, name)
      if !request.reply(entry) { nodes.forget(id, 1) }
    }
  }

  /// Puts an object in the node table under the name by which it was found.
  ///
  /// The lookup is counted before the kernel hears of it: one too many only leaks.
  func enter(
    _ descriptor: Descriptor, of manager: EntityID, below parent: NodeID, _ name: [UInt8]
  ) -> (id: NodeID, entry: fuse_entry_out) {
    let object = Node.Object(
      tree: tree(of: manager, below: parent, name), identity: descriptor.identity,
      kind: descriptor.kind, isStream: descriptor.attributes.contains(.stream),
      manager: manager, context: descriptor.context)
    let (id, node) = nodes.lookUp(name, below: parent, as: object)
    let isPrefix = object.kind.isContext && nodes[parent]?.object.kind == .sharedContext
    return (id, entry(id, attributes(of: descriptor, in: node), isPrefix: isPrefix))
  }

  /// A prefix that moves leads for so long to where it was: its old manager, which refuses, or the
  /// same object, which is stale there; then the kernel looks it up anew.
  private static let prefixValiditySeconds: UInt64 = 1

  /// The tree of the parent, or a new one where another manager's prefix begins.
  private func tree(of manager: EntityID, below parent: NodeID, _ name: [UInt8]) -> Tree {
    if let object = nodes[parent]?.object, object.manager == manager { return object.tree }
    return Tree(prefix: fullName(parent, name))
  }

  private func fullName(_ parent: NodeID, _ name: [UInt8]) -> [UInt8] {
    let front = nodes.fullName(of: parent) ?? []
    return front.isEmpty ? name : front + [UInt8(ascii: "/")] + name
  }

  /// Every use of a manager's names asks the manager; prefixes are not asked for at each step.
  private func entry(
    _ id: NodeID, _ attributes: fuse_attr, isPrefix: Bool
  ) -> fuse_entry_out {
    var entry = fuse_entry_out()
    entry.nodeid = id
    if isPrefix { entry.entry_valid = Self.prefixValiditySeconds }
    entry.attr = attributes
    return entry
  }
}

// MARK: - Prefixes

extension Mount {
  /// A prefix in the cache is answered for without asking anybody: its attributes are valid for
  /// no time, so whoever wants them asks its manager.
  private func lookUpPrefix(
    _ request: FuseRequest, below parent: NodeID, _ context: Node.Object, _ name: [UInt8]
  ) {
    if parent == NodeTable.root && name == Self.ownName {
      return request.send(
        QueryObject(ContextName(Self.ownRoot)), to: ownFiles
      ) { [self] answer in replyEntry(request, answer, below: parent, name) }
    }
    let fullName = fullName(parent, name)
    if let root = names.root(of: fullName) {
      return replyEntry(
        request, .done(root.descriptor, by: root.manager), below: parent, name)
    }
    request.send(
      QueryObject(ContextName(context.context, name)), to: context.manager
    ) { [self] answer in
      switch answer {
      case .refused(.nonexistentEntity), .refused(.outcomeUnknown), .refused(.invalidContext):
        searchPrefix(request, below: parent, name)
      case .refused(.retransmissionTimeout):
        describeAbsent(request, below: parent, context, name)
      case .done(let descriptor, let manager) where manager != context.manager:
        names.remember(descriptor, of: manager, for: fullName)
        replyEntry(request, answer, below: parent, name)
      default: replyEntry(request, answer, below: parent, name)
      }
    }
  }

  /// The directory sent the request to a manager that is gone: asks who has the prefix now.
  ///
  /// If nobody has, the name is not free but its manager is away.
  private func searchPrefix(_ request: FuseRequest, below parent: NodeID, _ name: [UInt8]) {
    let fullName = fullName(parent, name)
    guard fullName.count <= ContextName.nameBytesMax else {
      return request.fail(ENAMETOOLONG)
    }
    names.query(fullName) { [self] answer in
      guard case .done(let found, _) = answer, found.kind == .context,
        found.prefixBytes == fullName.count
      else { return request.fail(.nonexistentEntity) }
      request.send(
        QueryObject(ContextName(found.context)), to: found.manager
      ) { [self] answer in
        switch answer {
        case .done(let descriptor, let manager):
          names.remember(descriptor, of: manager, for: fullName)
        case .refused(let code): noteAbsence(of: found.manager, code)
        }
        replyEntry(request, answer, below: parent, name)
      }
    }
  }

  /// The name is there, its manager is away: a listing of hosts need not fail for that.
  ///
  /// The prefix is described as it was last seen, or, if it never was, from its claim; then only
  /// its name and that it is a directory are true.
  private func describeAbsent(
    _ request: FuseRequest, below parent: NodeID, _ context: Node.Object, _ name: [UInt8]
  ) {
    let fullName = fullName(parent, name)
    if let root = names.lastSeen(fullName) {
      return replyEntry(
        request, .done(root.descriptor, by: root.manager), below: parent, name)
    }
    request.send(
      QueryName(ContextName(context.context, name)), to: context.manager
    ) { [self] answer in
      guard case .done(let claim, _) = answer, claim.kind == .context else {
        return request.fail(.retransmissionTimeout)
      }
      var descriptor = Descriptor(
        kind: .context,
        identity: Descriptor.Identity(
          device: claim.manager.rawValue, inode: UInt64(claim.context.rawValue), generation: 0))
      descriptor.context = claim.context
      descriptor.permissions = 0o755
      descriptor.links = 2
      names.remember(descriptor, of: claim.manager, for: fullName)
      replyEntry(request, .done(descriptor, by: claim.manager), below: parent, name)
    }
  }
}
