internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// LOOKUP: a name below a shared context is a prefix or leads to some; a name below an object is
/// its manager's.
extension Mount {
  func lookUp(_ request: FuseRequest, below parent: NodeID, _ name: [UInt8]) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    guard let node = nodes[parent] else { return request.fail(ESTALE) }
    guard node.object != nil else {
      return lookUpPrefix(request, below: parent, name, afresh: false)
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

  /// Puts an object in the node table under the name by which it was found. The lookup is
  /// counted before the kernel hears of it: one too many only leaks.
  func enter(
    _ descriptor: Descriptor, of manager: EntityID, below parent: NodeID, _ name: [UInt8]
  ) -> (id: NodeID, entry: fuse_entry_out) {
    let object = Node.Object(
      tree: tree(of: manager, below: parent, name), identity: descriptor.identity,
      kind: descriptor.kind, manager: manager, context: descriptor.context)
    let (id, node) = nodes.lookUp(name, below: parent, as: object)
    return (id, entry(id, attributes(of: descriptor, in: node)))
  }

  /// The tree of the parent, or a new one where another manager's prefix begins.
  private func tree(of manager: EntityID, below parent: NodeID, _ name: [UInt8]) -> Tree {
    if let object = nodes[parent]?.object, object.manager == manager { return object.tree }
    return Tree(prefix: fullName(parent, name))
  }

  private func fullName(_ parent: NodeID, _ name: [UInt8]) -> [UInt8] {
    let front = nodes.fullName(of: parent) ?? []
    return front.isEmpty ? name : front + [UInt8(ascii: "/")] + name
  }

  /// No time of validity: every use of a name asks its manager.
  private func entry(_ id: NodeID, _ attributes: fuse_attr) -> fuse_entry_out {
    var entry = fuse_entry_out()
    entry.nodeid = id
    entry.attr = attributes
    return entry
  }
}

// MARK: - Prefixes

extension Mount {
  private func lookUpPrefix(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], afresh: Bool,
    after refusal: ReplyCode = .notFound
  ) {
    let fullName = fullName(parent, name)
    guard fullName.count <= ContextName.nameBytesMax else {
      return request.fail(ENAMETOOLONG)
    }
    guard request.prepareToWait() else { return }
    names.resolve(fullName, afresh: afresh) { [self] answer in
      switch answer {
      case .refused(.notFound): request.fail(refusal)
      case .refused(let code): request.fail(code)
      case .done(let binding, _) where binding.isShared:
        let (id, node) = nodes.lookUpShared(name, below: parent)
        if !request.reply(entry(id, attributes(ofShared: node))) { nodes.forget(id, 1) }
      case .done(let binding, _) where binding.prefixBytes != fullName.count:
        request.fail(ENOENT)
      case .done(let binding, _):
        queryPrefix(request, below: parent, name, binding, afresh: afresh)
      }
    }
  }

  /// Asks the manager of a prefix for its root. If that manager is gone another one may have
  /// the prefix now; if none does, the name is not free but its manager is away.
  private func queryPrefix(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], _ binding: NameCache.Binding,
    afresh: Bool
  ) {
    request.send(QueryObject(ContextName(binding.context)), to: binding.manager) {
      [self] answer in
      switch answer {
      case .refused(let code)
      where !afresh
        && [.invalidContext, .nonexistentEntity, .retransmissionTimeout].contains(code):
        lookUpPrefix(request, below: parent, name, afresh: true, after: code)
      default: replyEntry(request, answer, below: parent, name)
      }
    }
  }
}
