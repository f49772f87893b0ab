internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// OPEN, CREATE, RELEASE and FSYNC: an open file is an instance.
extension FuseRequest {
  func open(_ id: NodeID, flags: Int32) { open(id, mode: mode(flags)) }

  /// Makes an instance of the object of a node.
  ///
  /// The operation is not given up when a signal ends the request: its instance, if it comes
  /// after all, is released. That of a stream may wait for another program until a signal comes.
  func open(_ id: NodeID, mode: OpenMode) {
    let isStream = mount.nodes[id]?.object.isStream == true
    let undo: (@Sendable () -> Void)? = if isStream { {} } else { nil }
    ask(about: id, mayRepeat: true, mustEnd: true, undo: undo) { [mount] target in
      CreateInstance(target.name, mode: mode, owner: mount.owner)
    } then: { [self] answer in
      switch answer {
      case .refused(let code): fail(code)
      case .done(let created, let manager):
        guard created.descriptor.identity == mount.nodes[id]?.object.identity else {
          mount.release(created.instance, of: manager, as: user)
          return fail(ESTALE)
        }
        let record = enterOpen(of: id, created, by: manager, mode)
        if !reply(record) { mount.close(record.fh) }
      }
    }
  }

  func create(below parent: NodeID, _ name: [UInt8], mode permissions: UInt32, flags: Int32) {
    let isExclusive = flags & O_EXCL != 0
    let mode = mode(flags).union(isExclusive ? [.create, .exclusive] : .create)
    let allowed = self.permissions(permissions)
    // Only an exclusive one tells whether it was done before.
    ask(about: parent, name, mayRepeat: !isExclusive, mustEnd: true) { [mount] target in
      CreateInstance(
        target.name, mode: mode, permissions: allowed, owner: mount.owner)
    } then: { [self] answer in
      switch answer {
      case .refused(let code): fail(code)
      case .done(let created, let manager):
        withOwner(of: created.descriptor) { [self] owner in
          let (id, entry) = mount.enter(
            created.descriptor, owner, of: manager, below: parent, name)
          let open = enterOpen(of: id, created, by: manager, mode)
          if !reply(CreateReply(entry: entry, open: open)) {
            mount.close(open.fh)
            mount.nodes.forget(id, 1)
          }
        } otherwise: { [self] in
          mount.release(created.instance, of: manager, as: user)
          fail(EIO)
        }
      }
    }
  }

  private struct CreateReply: BitwiseCopyable {
    var entry: fuse_entry_out
    var open: fuse_open_out
  }

  func sync(_ handle: HandleID, isDataOnly: Bool) {
    use(handle) {
      SyncInstance($0, isDataOnly: isDataOnly)
    } then: { [self] answer in
      finish(answer)
    }
  }

  /// RELEASE and RELEASEDIR.
  ///
  /// No program waits for the answer.
  func release(_ handle: HandleID) {
    mount.close(handle)
    done()
  }
}

extension Mount {
  fileprivate func close(_ id: HandleID) {
    guard let handle = handles.remove(id) else { return }
    if !handle.mode.contains(.directory) { backingFiles.close(handle.node) }
    nodes.countClose(of: handle.node)
    let unlocks = locks.beginClose(of: id, handle.node)
    release(handle.instance, of: handle.manager, as: handle.user) { [locks] in
      if unlocks { locks.endClose(of: handle.node) }
    }
  }
}

// MARK: - Flags

extension FuseRequest {
  /// Enters an open file into the tables and says how the kernel is to treat it.
  private func enterOpen(
    of id: NodeID, _ created: CreateInstance.Answer, by manager: EntityID, _ mode: OpenMode
  ) -> fuse_open_out {
    var reply = fuse_open_out()
    reply.fh = mount.handles.add(
      Handle(node: id, user: user, mode: mode, manager: manager, created))
    mount.nodes.countOpen(of: id)
    if mode.contains(.directory) { return reply }
    let backing = mount.backingFiles.open(id, takePassed())
    if backing > 0 {
      reply.open_flags = UInt32(V_FOPEN_PASSTHROUGH)
      // Newer kernels read the number of the backing file here.
      reply.padding = UInt32(backing)
    } else {
      reply.open_flags = Self.openFlags(created.attributes)
    }
    return reply
  }

  /// How the kernel treats a file that goes by requests: the attributes of its object decide.
  private static func openFlags(_ attributes: UIOAttributes) -> UInt32 {
    var flags = UInt32(FOPEN_DIRECT_IO)
    if attributes.contains(.stream) {
      flags |= UInt32(FOPEN_STREAM | FOPEN_NONSEEKABLE)
    } else if !attributes.contains(.randomAccess) {
      flags |= UInt32(FOPEN_NONSEEKABLE)
    }
    return flags
  }

  /// The kernel's FMODE_EXEC, which is in the flags of an open for execve.
  private static let openToExecute: Int32 = 0x20

  private func mode(_ flags: Int32) -> OpenMode {
    var mode: OpenMode =
      switch flags & O_ACCMODE {
      case O_RDONLY: .read
      case O_WRONLY: .write
      default: [.read, .write]
      }
    if flags & O_APPEND != 0 { mode.insert(.append) }
    if flags & O_TRUNC != 0 { mode.insert(.truncate) }
    if flags & (O_SYNC | O_DSYNC) != 0 { mode.insert(.synchronous) }
    if flags & O_NONBLOCK != 0 { mode.insert(.nonBlocking) }
    // For itself the kernel reads what its user may only run.
    if flags & Self.openToExecute != 0 { mode = mode.subtracting(.read).union(.execute) }
    if dropsPrivileges { mode.insert(.dropPrivileges) }
    return mode
  }
}
