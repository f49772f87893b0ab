internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME and READLINK.
extension Mount {
  public func lookUp(_ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8]) {
    let call = call(request)
    call.find(name, below: parent) { [self] answer in
      replyEntry(request, call, answer, below: parent, name)
    }
  }

  public func makeNode(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], _ kind: FileKind,
    permissions: UInt32, deviceNumber: UInt64
  ) {
    addName(
      request, below: parent, name, Self.kind(kind), permissions: permissions,
      deviceNumber: deviceNumber)
  }

  public func makeDirectory(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], permissions: UInt32
  ) {
    addName(request, below: parent, name, .context, permissions: permissions)
  }

  public func makeSymbolicLink(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], target: [UInt8]
  ) {
    guard target.count <= ContextName.nameBytesMax else {
      return request.fail(FuseError.nameTooLong)
    }
    addName(request, below: parent, name, .symbolicLink, permissions: 0o777, target: target)
  }

  private func addName(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], _ kind: ObjectKind,
    permissions: UInt32, deviceNumber: UInt64 = 0, target: [UInt8] = []
  ) {
    let call = call(request)
    call.ask(about: parent, name) {
      AddName(
        $0.name, kind: kind, permissions: permissions, deviceNumber: deviceNumber, target: target)
    } then: { [self] answer in
      replyEntry(request, call, answer, below: parent, name)
    }
  }

  public func link(
    _ request: FuseRequest, _ node: NodeNumber, below parent: NodeNumber, _ name: [UInt8]
  ) {
    let call = call(request)
    call.ask(about: parent, name, and: node) {
      LinkName($0.name, object: $0.other)
    } then: { [self] answer in
      replyEntry(request, call, answer, below: parent, name)
    }
  }

  public func removeName(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], isDirectory: Bool
  ) {
    if parent == ObjectTable.root && name == Self.ownName {
      return request.fail(FuseError.notPermitted)
    }
    call(request).ask(about: parent, name) {
      RemoveName($0.name, isContext: isDirectory)
    } then: { answer in
      request.finish(answer)
    }
  }

  public func rename(_ request: FuseRequest, from old: Place, to new: Place, flags: UInt32) {
    // RENAME_WHITEOUT leaves a device in the old place, which only overlayfs uses.
    guard let mode = RenameObject.Mode(rawValue: flags) else {
      return request.fail(FuseError.invalid)
    }
    guard new.name.count <= Descriptor.nameBytesMax else {
      return request.fail(FuseError.nameTooLong)
    }
    call(request).ask(about: old.parent, old.name, and: new.parent) {
      RenameObject($0.name, to: $0.other, new.name, mode: mode)
    } then: { [client] answer in
      if case .done = answer {
        client.objects.rename(
          from: (old.parent, old.name), to: (new.parent, new.name), isExchange: mode == .exchange)
      }
      request.finish(answer)
    }
  }

  public func readLink(_ request: FuseRequest, _ node: NodeNumber) {
    call(request).ask(about: node) {
      ReadLink($0.name)
    } then: { answer in
      request.finish(answer) { request.reply($0.data) }
    }
  }
}

// MARK: - Entries

extension Mount {
  /// For this time a prefix that has moved still leads to its old place: its old manager, which
  /// refuses, or the same object, which is stale there; then the kernel looks it up again.
  private static let prefixValiditySeconds: UInt64 = 1

  /// Answers with the entry that a descriptor makes, and counts the lookup.
  private func replyEntry(
    _ request: FuseRequest, _ call: Call, _ answer: Answer<Descriptor>, below parent: NodeNumber,
    _ name: [UInt8]
  ) {
    switch answer {
    case .refused(let refusal): request.fail(refusal.code)
    case .done(let descriptor, let manager):
      withOwner(of: descriptor, request, call) { [self] owner in
        let (id, known) = client.enter(descriptor, of: manager, below: parent, name)
        if !request.reply(entry(id, known, descriptor, owner)) { client.objects.forget(id, 1) }
      }
    }
  }

  /// Every use of a manager's names asks the manager; prefixes are cached for a moment.
  func entry(
    _ id: NodeNumber, _ known: KnownObject, _ descriptor: Descriptor, _ owner: OwnerNumbers
  ) -> FileEntry {
    let isPrefix = known.object.kind.isContext && client.isPrefix(known)
    return FileEntry(
      node: id, attributes: Self.attributes(of: descriptor, owner, in: known),
      validitySeconds: isPrefix ? Self.prefixValiditySeconds : 0)
  }
}
