internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// LOOKUP: a name below an object is its manager's; below a shared context the directory answers,
/// or hands the request on to the manager whose prefix the name is.
extension FuseRequest {
  func lookUp(below parent: NodeID, _ name: [UInt8]) {
    guard name.count <= Descriptor.nameBytesMax else { return fail(ENAMETOOLONG) }
    guard let object = mount.nodes[parent]?.object else { return fail(ESTALE) }
    if object.kind == .sharedContext { return lookUpPrefix(below: parent, object, name) }
    ask(about: parent, name) {
      QueryObject($0.name)
    } then: { [self] answer in
      replyEntry(answer, below: parent, name)
    }
  }

  /// Answers with the entry that a descriptor makes, and counts the lookup.
  func replyEntry(_ answer: Answer<Descriptor>, below parent: NodeID, _ name: [UInt8]) {
    switch answer {
    case .refused(let code): fail(code)
    case .done(let descriptor, let manager):
      withOwner(of: descriptor) { [self] owner in
        let (id, entry) = mount.enter(descriptor, owner, of: manager, below: parent, name)
        if !reply(entry) { mount.nodes.forget(id, 1) }
      } otherwise: { [self] in
        fail(EIO)
      }
    }
  }

  /// A prefix in the cache is answered for without asking anybody: its attributes are valid for
  /// no time, so whoever wants them asks its manager.
  private func lookUpPrefix(below parent: NodeID, _ context: Node.Object, _ name: [UInt8]) {
    if parent == NodeTable.root && name == Mount.ownName {
      return send(QueryObject(ContextName(Mount.ownRoot)), to: mount.ownFiles) {
        [self] answer in replyEntry(answer, below: parent, name)
      }
    }
    let fullName = mount.fullName(parent, name)
    if let root = mount.names.root(of: fullName) {
      return replyEntry(.done(root.descriptor, by: root.manager), below: parent, name)
    }
    send(QueryObject(ContextName(context.context, name)), to: context.manager) {
      [self] answer in
      switch answer {
      case .refused(.nonexistentEntity), .refused(.outcomeUnknown), .refused(.invalidContext):
        searchPrefix(fullName, below: parent, context, name)
      case .refused(.retransmissionTimeout):
        describeAbsent(fullName, below: parent, context, name)
      default:
        if case .done(let descriptor, let manager) = answer, manager != context.manager {
          mount.names.remember(descriptor, of: manager, for: fullName)
        }
        replyEntry(answer, below: parent, name)
      }
    }
  }

  /// The directory sent the request to a manager that is gone: asks who has the prefix now.
  ///
  /// If nobody has, the name is not free but its manager is away.
  private func searchPrefix(
    _ fullName: [UInt8], below parent: NodeID, _ context: Node.Object, _ name: [UInt8]
  ) {
    guard fullName.count <= ContextName.nameBytesMax else { return fail(ENAMETOOLONG) }
    mount.names.query(fullName) { [self] answer in
      guard case .done(let found, _) = answer, found.kind == .context,
        found.prefixBytes == fullName.count
      else { return describeAbsent(fullName, below: parent, context, name) }
      send(QueryObject(ContextName(found.context)), to: found.manager) { [self] answer in
        switch answer {
        case .done(let descriptor, let manager):
          mount.names.remember(descriptor, of: manager, for: fullName)
        case .refused(let code): mount.noteAbsence(of: found.manager, code)
        }
        replyEntry(answer, below: parent, name)
      }
    }
  }

  /// The name is there, its manager is away: a listing of hosts need not fail for that.
  ///
  /// The prefix is described as it was last seen, or, if it never was, from its claim; then only
  /// its name and that it is a directory are true.
  private func describeAbsent(
    _ fullName: [UInt8], below parent: NodeID, _ context: Node.Object, _ name: [UInt8]
  ) {
    if let root = mount.names.lastSeen(fullName) {
      return replyEntry(.done(root.descriptor, by: root.manager), below: parent, name)
    }
    send(QueryName(ContextName(context.context, name)), to: context.manager) { [self] answer in
      guard case .done(let claim, _) = answer, claim.kind == .context else {
        return fail(.retransmissionTimeout)
      }
      var descriptor = Descriptor(
        kind: .context,
        identity: Descriptor.Identity(
          device: claim.manager.rawValue, inode: claim.context.rawValue, generation: 0))
      descriptor.context = claim.context
      descriptor.permissions = 0o755
      descriptor.links = 2
      mount.names.remember(descriptor, of: claim.manager, for: fullName)
      replyEntry(.done(descriptor, by: claim.manager), below: parent, name)
    }
  }
}

// MARK: - Nodes

extension Mount {
  /// A prefix that moves leads for so long to where it was: its old manager, which refuses, or the
  /// same object, which is stale there; then the kernel looks it up anew.
  private static let prefixValiditySeconds: UInt64 = 1

  /// Puts an object in the node table under the name by which it was found.
  ///
  /// The lookup is counted before the kernel hears of it: one too many only leaks. Every use of a
  /// manager's names asks the manager; prefixes are not asked for at each step.
  func enter(
    _ descriptor: Descriptor, _ owner: OwnerNumbers, of manager: EntityID, below parent: NodeID,
    _ name: [UInt8]
  ) -> (id: NodeID, entry: fuse_entry_out) {
    note(descriptor, of: manager)
    let above = nodes[parent]?.object
    // A new tree where another manager's prefix begins.
    let tree = above?.manager == manager ? above?.tree : nil
    let object = Node.Object(
      tree: tree ?? Tree(prefix: fullName(parent, name)), identity: descriptor.identity,
      kind: descriptor.kind, isStream: descriptor.attributes.contains(.stream),
      manager: manager, context: descriptor.context)
    let (id, node) = nodes.lookUp(name, below: parent, as: object)
    var entry = fuse_entry_out()
    entry.nodeid = id
    if object.kind.isContext && above?.kind == .sharedContext {
      entry.entry_valid = Self.prefixValiditySeconds
    }
    entry.attr = attributes(of: descriptor, owner, in: node)
    return (id, entry)
  }

  fileprivate func fullName(_ parent: NodeID, _ name: [UInt8]) -> [UInt8] {
    let front = nodes.fullName(of: parent) ?? []
    return front.isEmpty ? name : front + [UInt8(ascii: "/")] + name
  }
}
