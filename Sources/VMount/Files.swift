internal import CVLinux
internal import Glibc
internal import Synchronization
internal import VProtocol
internal import VRuntime

/// OPEN, CREATE, RELEASE and FSYNC: an open file is an instance.
extension Mount {
  func open(_ request: FuseRequest, _ id: NodeID, flags: Int32) {
    open(request, id, mode: Self.mode(flags, request))
  }

  /// Makes an instance of the object of a node.
  ///
  /// The operation is not given up when a signal ends the request: its instance, if it comes
  /// after all, is released. That of a stream may wait for another program until a signal comes.
  func open(_ request: FuseRequest, _ id: NodeID, mode: OpenMode) {
    let passed = Mutex<PassedDescriptor?>(nil)
    let undo: (@Sendable () -> Void)? = if nodes[id]?.object.isStream == true { {} } else { nil }
    ask(
      about: id, for: request, mayRepeat: true, mustEnd: true, undo: undo,
      takeDescriptor: { descriptor in passed.withLock { $0 = descriptor } }
    ) { [owner] contexts in
      CreateInstance(ContextName(contexts.object), mode: mode, owner: owner)
    } then: { [self] answer in
      switch answer {
      case .refused(let code): request.fail(code)
      case .done(let created, let manager):
        guard created.descriptor.identity == nodes[id]?.object.identity else {
          release(created.instance, of: manager, as: request.user)
          return request.fail(ESTALE)
        }
        let handle = handles.add(
          Handle(node: id, user: request.user, mode: mode, manager: manager, created))
        let reply = enterOpen(handle, of: id, created, mode, passed.withLock { $0.take() })
        if !request.reply(reply) { close(handle) }
      }
    }
  }

  func create(
    _ request: FuseRequest, below parent: NodeID, _ name: [UInt8], mode permissions: UInt32,
    flags: Int32
  ) {
    guard name.count <= Descriptor.nameBytesMax else { return request.fail(ENAMETOOLONG) }
    var mode = Self.mode(flags, request).union(.create)
    if flags & O_EXCL != 0 { mode.insert(.exclusive) }
    let permissions = request.permissions(permissions)
    let passed = Mutex<PassedDescriptor?>(nil)
    // Only an exclusive one tells whether it was done before.
    ask(
      about: parent, for: request, mayRepeat: flags & O_EXCL == 0, mustEnd: true,
      takeDescriptor: { descriptor in passed.withLock { $0 = descriptor } }
    ) { [mode, owner] contexts in
      CreateInstance(
        ContextName(contexts.object, name), mode: mode, permissions: permissions, owner: owner)
    } then: { [self, mode] answer in
      switch answer {
      case .refused(let code): request.fail(code)
      case .done(let created, let manager):
        let (id, entry) = enter(created.descriptor, of: manager, below: parent, name)
        let handle = handles.add(
          Handle(node: id, user: request.user, mode: mode, manager: manager, created))
        let open = enterOpen(handle, of: id, created, mode, passed.withLock { $0.take() })
        if !request.reply(CreateReply(entry: entry, open: open)) {
          close(handle)
          nodes.forget(id, 1)
        }
      }
    }
  }

  func sync(_ request: FuseRequest, _ handle: HandleID, isDataOnly: Bool) {
    use(handle, for: request) {
      SyncInstance($0, isDataOnly: isDataOnly)
    } then: {
      request.finish($0)
    }
  }

  /// RELEASE and RELEASEDIR.
  ///
  /// No program waits for the answer.
  func release(_ request: FuseRequest, _ handle: HandleID) {
    close(handle)
    request.done()
  }

  private func close(_ id: HandleID) {
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

extension Mount {
  private struct CreateReply: BitwiseCopyable {
    var entry: fuse_entry_out
    var open: fuse_open_out
  }

  /// Counts an open and says how the kernel is to treat it.
  private func enterOpen(
    _ handle: HandleID, of id: NodeID, _ created: CreateInstance.Answer, _ mode: OpenMode,
    _ descriptor: PassedDescriptor?
  ) -> fuse_open_out {
    nodes.countOpen(of: id)
    var reply = fuse_open_out()
    reply.fh = handle
    if mode.contains(.directory) { return reply }
    let backing = backingFiles.open(id, descriptor)
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

  private static func mode(_ flags: Int32, _ request: FuseRequest) -> OpenMode {
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
    if flags & openToExecute != 0 { mode.insert(.execute) }
    if request.dropsPrivileges { mode.insert(.dropPrivileges) }
    return mode
  }
}
