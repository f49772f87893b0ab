internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// GETATTR, SETATTR, ACCESS and STATFS, and descriptors in Linux's form.
extension Mount {
  public func getAttributes(
    _ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?
  ) {
    let call = call(request)
    call.describe(node, handle) { [self] answer in
      finish(request, call, node, answer)
    }
  }

  public func setAttributes(
    _ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?, to change: AttributeChange
  ) {
    guard let kind = client.objects[node]?.object.kind else { return request.fail(FuseError.stale) }
    let call = call(request)
    call.modify(node, handle, Self.modification(change, request, kind)) { [self] answer in
      finish(request, call, node, answer)
    }
  }

  private func finish(
    _ request: FuseRequest, _ call: Call, _ node: NodeNumber, _ answer: Answer<Descriptor>
  ) {
    guard let known = client.objects[node] else { return request.fail(FuseError.stale) }
    request.finish(answer) { descriptor in
      withOwner(of: descriptor, request, call) { owner in
        request.reply(Self.attributes(of: descriptor, owner, in: known))
      }
    }
  }

  public func checkAccess(_ request: FuseRequest, to node: NodeNumber, _ mask: UInt32) {
    call(request).ask(about: node) {
      CheckAccess($0.name, mask: mask)
    } then: { answer in
      request.finish(answer)
    }
  }

  public func queryStore(_ request: FuseRequest, of node: NodeNumber) {
    call(request).ask(about: node) {
      QueryStore($0.name)
    } then: { answer in
      request.finish(answer) { store in
        request.reply(
          StoreRecord(
            blockSize: UInt32(clamping: store.blockSize), blocks: store.blocks,
            blocksFree: store.blocksFree, blocksAvailable: store.blocksAvailable,
            objects: store.objects, objectsFree: store.objectsFree,
            nameBytesMax: UInt32(clamping: store.nameBytesMax)))
      }
    }
  }
}

// MARK: - From V to Linux

extension Mount {
  /// One packet group: the best size of a read, for programs that ask.
  private static let blockBytes = UInt32(Message.segmentBytesMax)

  static func attributes(
    of descriptor: Descriptor, _ owner: OwnerNumbers, in known: KnownObject
  ) -> FileAttributes {
    var attributes = FileAttributes(
      number: known.number, kind: kind(descriptor.kind), permissions: descriptor.permissions)
    attributes.size = descriptor.size
    attributes.allocatedBytes = descriptor.allocatedBytes
    attributes.accessed = descriptor.accessed
    attributes.modified = descriptor.modified
    attributes.changed = descriptor.changed
    attributes.links = descriptor.links
    attributes.uid = owner.uid
    attributes.gid = owner.gid
    attributes.deviceNumber = descriptor.deviceNumber
    attributes.blockSize = max(descriptor.blockSize, Self.blockBytes)
    return attributes
  }

  static func kind(_ kind: ObjectKind) -> FileKind {
    switch kind {
    case .context, .sharedContext: .directory
    case .symbolicLink: .symbolicLink
    case .fifo: .fifo
    case .socket: .socket
    case .characterDevice: .characterDevice
    case .blockDevice: .blockDevice
    // An object of an unknown kind, from a newer manager, can be read and written like a file.
    default: .file
    }
  }
}

// MARK: - From Linux to V

extension Mount {
  static func kind(_ kind: FileKind) -> ObjectKind {
    switch kind {
    case .file: .file
    case .directory: .context
    case .symbolicLink: .symbolicLink
    case .fifo: .fifo
    case .socket: .socket
    case .characterDevice: .characterDevice
    case .blockDevice: .blockDevice
    }
  }

  private static func modification(
    _ change: AttributeChange, _ request: FuseRequest, _ kind: ObjectKind
  ) -> Modification {
    var modification = Modification()
    modification.permissions = change.permissions
    if change.changesOwner { modification.owner = request.names.owner }
    if change.changesGroup { modification.group = request.names.group }
    modification.size = change.size
    modification.accessed = change.accessed.map(stamp)
    modification.modified = change.modified.map(stamp)
    // The kernel leaves this to the server in a chown of anything but a directory.
    let isChown = change.changesOwner || change.changesGroup
    modification.dropsPrivileges = request.dropsPrivileges || (isChown && !kind.isContext)
    return modification
  }

  private static func stamp(_ stamp: AttributeChange.Stamp) -> Modification.Stamp {
    switch stamp {
    case .now: .now
    case .at(let time): .at(time)
    }
  }
}
