internal import Glibc
internal import VProtocol
internal import VRuntime

/// MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME and READLINK.
extension FuseRequest {
  func makeNode(below parent: NodeID, _ name: [UInt8], mode: UInt32, deviceNumber: UInt64) {
    let kind: ObjectKind? =
      switch mode_t(mode) & S_IFMT {
      case S_IFREG, 0: .file
      case S_IFIFO: .fifo
      case S_IFSOCK: .socket
      case S_IFCHR: .characterDevice
      case S_IFBLK: .blockDevice
      default: nil
      }
    guard let kind else { return fail(EINVAL) }
    addName(
      below: parent, name, kind, permissions: permissions(mode), deviceNumber: deviceNumber)
  }

  func makeDirectory(below parent: NodeID, _ name: [UInt8], mode: UInt32) {
    addName(below: parent, name, .context, permissions: permissions(mode))
  }

  func makeSymbolicLink(below parent: NodeID, _ name: [UInt8], target: [UInt8]) {
    guard target.count <= ContextName.nameBytesMax else { return fail(ENAMETOOLONG) }
    addName(below: parent, name, .symbolicLink, permissions: 0o777, target: target)
  }

  private func addName(
    below parent: NodeID, _ name: [UInt8], _ kind: ObjectKind, permissions: UInt32,
    deviceNumber: UInt64 = 0, target: [UInt8] = []
  ) {
    ask(about: parent, name) {
      AddName(
        $0.name, kind: kind, permissions: permissions, deviceNumber: deviceNumber, target: target)
    } then: { [self] answer in
      replyEntry(answer, below: parent, name)
    }
  }

  func link(_ id: NodeID, below parent: NodeID, _ name: [UInt8]) {
    ask(about: parent, name, and: id) {
      LinkName($0.name, object: $0.other)
    } then: { [self] answer in
      replyEntry(answer, below: parent, name)
    }
  }

  func removeName(below parent: NodeID, _ name: [UInt8], isContext: Bool) {
    if parent == NodeTable.root && name == Mount.ownName { return fail(EPERM) }
    ask(about: parent, name) {
      RemoveName($0.name, isContext: isContext)
    } then: { [self] answer in
      finish(answer)
    }
  }

  func rename(
    from old: (parent: NodeID, name: [UInt8]), to new: (parent: NodeID, name: [UInt8]),
    flags: UInt32
  ) {
    // RENAME_WHITEOUT leaves a device in the old place, which means something to overlayfs only.
    guard let mode = RenameObject.Mode(rawValue: flags) else { return fail(EINVAL) }
    guard new.name.count <= Descriptor.nameBytesMax else { return fail(ENAMETOOLONG) }
    ask(about: old.parent, old.name, and: new.parent) {
      RenameObject($0.name, to: $0.other, new.name, mode: mode)
    } then: { [self] answer in
      if case .done = answer {
        mount.nodes.rename(from: old, to: new, isExchange: mode == .exchange)
      }
      finish(answer)
    }
  }

  func readLink(_ id: NodeID) {
    ask(about: id) {
      ReadLink($0.name)
    } then: { [self] answer in
      finish(answer) { reply($0.data) }
    }
  }
}
