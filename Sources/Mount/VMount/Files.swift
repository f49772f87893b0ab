internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// OPEN, CREATE, READ, WRITE, RELEASE and FSYNC.
extension Mount {
  public func open(_ request: FuseRequest, _ node: NodeNumber, _ flags: OpenFlags) {
    open(request, node, Self.mode(flags, request))
  }

  public func openDirectory(_ request: FuseRequest, _ node: NodeNumber) {
    open(request, node, [.read, .directory])
  }

  private func open(_ request: FuseRequest, _ node: NodeNumber, _ mode: OpenMode) {
    call(request).open(node, mode) { [self] answer in
      request.finish(answer) { opened in
        if !request.reply(file(opened, of: node, mode)) { close(opened.id) }
      }
    }
  }

  public func create(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], _ flags: OpenFlags,
    permissions: UInt32
  ) {
    let mode = Self.mode(flags, request).union(
      flags.isExclusive ? [.create, .exclusive] : .create)
    let call = call(request)
    call.make(name, below: parent, mode, permissions: permissions) { [self] answer in
      switch answer {
      case .refused(let refusal): request.fail(refusal.code)
      case .done(let made, let manager):
        withOwner(of: made.descriptor, request, call) { [self] owner in
          let (id, known, opened) = call.enter(made, by: manager, below: parent, name)
          let isTaken = request.reply(
            entry(id, known, made.descriptor, owner), file(opened, of: id, mode))
          if !isTaken {
            close(opened.id)
            client.objects.forget(id, 1)
          }
        } otherwise: {
          call.takeBack(made, by: manager)
        }
      }
    }
  }

  public func read(
    _ request: FuseRequest, _ handle: HandleNumber, count: Int, at offset: UInt64
  ) {
    call(request).read(handle, count: count, at: offset) { [self] answer in
      if Self.isShort(answer, count) { watchAgain(handle, for: .readable) }
      request.finish(answer) { pieces in
        if pieces.count == 1 { request.reply(pieces[0]) } else { request.reply(pieces: pieces) }
      }
    }
  }

  public func write(
    _ request: FuseRequest, _ handle: HandleNumber, _ data: RawSpan, at offset: UInt64
  ) {
    call(request).write(
      handle, data, at: offset, dropsPrivileges: request.dropsPrivileges
    ) { [self, count = data.byteCount] answer in
      if Self.isShort(answer, count) { watchAgain(handle, for: .writeable) }
      if case .refused(.brokenPipe) = answer { request.signalBrokenPipe() }
      request.finish(answer) { request.reply(written: $0) }
    }
  }

  public func synchronize(_ request: FuseRequest, _ handle: HandleNumber, isDataOnly: Bool) {
    call(request).use(handle) {
      SyncInstance($0, isDataOnly: isDataOnly)
    } then: { answer in
      request.finish(answer)
    }
  }

  public func close(_ request: FuseRequest, _ handle: HandleNumber) {
    close(handle)
    request.done()
  }

  private func close(_ handle: HandleNumber) {
    polls.remove(handle)
    guard let (node, mode) = client.close(handle), !mode.contains(.directory) else { return }
    session.backingFiles.close(node)
  }
}

// MARK: - Readiness

extension Mount {
  /// Whether a read found less than a message's worth, and not the end.
  private static func isShort(_ answer: Answer<[[UInt8]]>, _ count: Int) -> Bool {
    switch answer {
    case .done(let pieces, _):
      pieces.first.map { !$0.isEmpty && $0.count < min(count, Message.segmentBytesMax) } ?? false
    case .refused(.wouldBlock): true
    case .refused: false
    }
  }

  /// Whether a write was not taken as a whole.
  private static func isShort(_ answer: Answer<Int>, _ count: Int) -> Bool {
    switch answer {
    case .done(let written, _): written < min(count, Message.segmentBytesMax)
    case .refused(.wouldBlock): true
    case .refused: false
    }
  }
}

// MARK: - Flags

extension Mount {
  /// How the kernel must treat an opened object: its attributes decide.
  private func file(_ opened: Opened, of node: NodeNumber, _ mode: OpenMode) -> OpenedFile {
    if mode.contains(.directory) { return OpenedFile(handle: opened.id, way: .directory) }
    let backing = session.backingFiles.open(node, opened.passed?.number)
    if backing > 0 { return OpenedFile(handle: opened.id, way: .backing(backing)) }
    let isStream = opened.attributes.contains(.stream)
    let isSeekable = !isStream && opened.attributes.contains(.randomAccess)
    return OpenedFile(
      handle: opened.id, way: .requests(isStream: isStream, isSeekable: isSeekable))
  }

  private static func mode(_ flags: OpenFlags, _ request: FuseRequest) -> OpenMode {
    var mode: OpenMode =
      switch flags.access {
      case .read: .read
      case .write: .write
      case .both: [.read, .write]
      }
    if flags.appends { mode.insert(.append) }
    if flags.truncates { mode.insert(.truncate) }
    if flags.isSynchronous { mode.insert(.synchronous) }
    if flags.isNonBlocking { mode.insert(.nonBlocking) }
    // The kernel itself reads a program that its user may only run.
    if flags.isToExecute { mode = mode.subtracting(.read).union(.execute) }
    if request.dropsPrivileges { mode.insert(.dropPrivileges) }
    return mode
  }
}
