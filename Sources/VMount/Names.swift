internal import Glibc
internal import VProtocol
internal import VRuntime

/// MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME and READLINK.
extension Mount {
  func makeNode(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], mode: UInt32,
    deviceNumber: UInt64
  ) {
    let kind: ObjectKind? =
      switch mode_t(mode) & S_IFMT {
      case S_IFREG, 0: .file
      case S_IFIFO: .fifo
      case S_IFSOCK: .socket
      case S_IFCHR: .characterDevice
      case S_IFBLK: .blockDevice
      default: nil
      }
    guard let kind else { return request.fail(EINVAL) }
    addName(
      request, below: parent, name, kind, permissions: request.permissions(mode),
      deviceNumber: deviceNumber)
  }

  func makeDirectory(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], mode: UInt32
  ) {
    addName(request, below: parent, name, .context, permissions: request.permissions(mode))
  }

  func makeSymbolicLink(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], target: [UInt8]
  ) {
    guard target.count <= ContextName.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    addName(request, below: parent, name, .symbolicLink, permissions: 0o777, target: target)
  }

  private func addName(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], _ kind: ObjectKind,
    permissions: UInt32, deviceNumber: UInt64 = 0, target: [UInt8] = []
  ) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    ask(about: parent, for: request) { contexts in
      AddName(
        ContextName(contexts.object, name), kind: kind, permissions: permissions,
        deviceNumber: deviceNumber, target: target)
    } then: { [self] answer in
      replyEntry(request, answer, below: parent, name)
    }
  }

  func link(_ request: FuseRequest, _ id: NodeID, below parent: NodeID, _ name: [UInt8]) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    ask(about: parent, and: id, for: request) { contexts in
      LinkName(ContextName(contexts.object, name), object: contexts.other)
    } then: { [self] answer in
      replyEntry(request, answer, below: parent, name)
    }
  }

  func removeName(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], isContext: Bool
  ) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    if parent == NodeTable.root && name == Self.ownName { return request.fail(EPERM) }
    ask(about: parent, for: request) { contexts in
      RemoveName(ContextName(contexts.object, name), isContext: isContext)
    } then: {
      request.finish($0)
    }
  }

  func rename(
    _ request: FuseRequest, from old: (parent: NodeID, name: [UInt8]),
    to new: (parent: NodeID, name: [UInt8]), flags: UInt32
  ) {
    // RENAME_WHITEOUT leaves a device in the old place, which means something to overlayfs only.
    guard let mode = RenameObject.Mode(rawValue: flags) else { return request.fail(EINVAL) }
    guard max(old.name.count, new.name.count) <= Descriptor.nameBytesMax else {
      return request.fail(ENAMETOOLONG)
    }
    ask(about: old.parent, and: new.parent, for: request) { contexts in
      RenameObject(
        ContextName(contexts.object, old.name), to: contexts.other, new.name, mode: mode)
    } then: { [self] answer in
      if case .done = answer { nodes.rename(from: old, to: new, isExchange: mode == .exchange) }
      request.finish(answer)
    }
  }

  func readLink(_ request: FuseRequest, _ id: NodeID) {
    ask(about: id, for: request) {
      ReadLink(ContextName($0.object))
    } then: { answer in
      request.finish(answer) { target in request.reply(target.data) }
    }
  }
}
