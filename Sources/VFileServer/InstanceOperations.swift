import Synchronization
import VProtocol
import VRuntime
import VStore

/// The operations on instances: interface 0x0011.
extension FileServer {
  func queryInstance(_ query: QueryInstance, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    try describe(enter(query.instance, turn), turn)
  }

  func modifyInstance(
    _ operation: ModifyInstance, _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    let instance = try enter(operation.instance, turn)
    try mustBeWriteable(instance.file.export)
    if operation.modification.size != nil && !instance.mode.contains(.write) {
      throw .refused(.notWriteable)
    }
    let who = try credentials(instance.file.export, turn)
    try change(
      instance.file.handle, isOpenFile: true, operation.modification, as: who, turn)
    return try describe(instance, turn)
  }

  private func describe(_ instance: Instance, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    var descriptor = try describe(instance.object, by: instance.file.handle, name: [], turn)
    descriptor.attributes = instance.attributes
    return descriptor
  }

  func readInstance(
    _ query: ReadInstance, _ turn: Turn
  ) throws(StoreFailure) -> ReadInstance.Answer {
    let instance = try enter(query.instance, turn)
    let count = min(query.count, Message.segmentBytesMax)
    if instance.mode.contains(.directory) {
      try turn.mustBeAbleToWait()
      return ReadInstance.Answer(data: try descriptors(instance, query.position, count))
    }
    guard instance.isReadable else { throw .refused(.notReadable) }
    guard count > 0 else { return ReadInstance.Answer(data: []) }
    return ReadInstance.Answer(
      data: try store.read(
        instance.file.handle, at: query.position, count: count, turn.patience))
  }

  /// As many whole descriptors of a directory as `count` octets hold.
  ///
  /// They tell only what the directory itself knows: name, kind, inode, and where the next one is
  /// read from.
  private func descriptors(
    _ instance: Instance, _ position: UInt64, _ count: Int
  ) throws(StoreFailure) -> [UInt8] {
    var writer = SegmentWriter(reserving: count)
    var from = position
    while true {
      let entries = try instance.directoryLock.withLock { _ throws(StoreFailure) in
        try store.entries(of: instance.file.handle, from: from)
      }
      for entry in entries {
        var descriptor = Descriptor(
          kind: entry.kind,
          identity: Descriptor.Identity(device: 0, inode: entry.inode, generation: 0))
        descriptor.links = 0
        descriptor.blockSize = 0
        descriptor.owner = ""
        descriptor.group = ""
        descriptor.name = entry.name
        descriptor.nextPosition = entry.nextPosition
        guard writer.bytes.count + descriptor.byteCount <= count else {
          // An empty answer would mean the end.
          guard !writer.bytes.isEmpty else { throw .refused(.badByteCount) }
          return writer.bytes
        }
        descriptor.emit(into: &writer)
        from = entry.nextPosition
      }
      if entries.isEmpty { return writer.bytes }
    }
  }

  func writeInstance(
    _ operation: WriteInstance, _ turn: Turn
  ) throws(StoreFailure) -> WriteInstance.Answer {
    let instance = try enter(operation.instance, turn)
    guard instance.mode.contains(.write) else { throw .refused(.notWriteable) }
    let who = try credentials(instance.file.export, turn)
    let handle = instance.file.handle
    let count =
      operation.data.isEmpty
      ? 0
      : try store.write(
        handle, operation.data, at: operation.position, instance.mode, as: who, turn.patience)
    if operation.dropsPrivileges { try dropPrivileges(handle, as: who) }
    return WriteInstance.Answer(count: count, size: try store.describe(handle).size)
  }

  func syncInstance(_ operation: SyncInstance, _ turn: Turn) throws(StoreFailure) -> Done {
    let instance = try enter(operation.instance, turn)
    try store.synchronize(instance.file.handle, isDataOnly: operation.isDataOnly)
    return Done()
  }

  /// Ends an instance, and says so once a written file is closed: whoever waits may want to run
  /// it.
  ///
  /// The last close of a file without names frees its room, which takes time.
  func releaseInstance(_ operation: ReleaseInstance, _ turn: Turn) throws(StoreFailure) -> Done {
    guard instances[operation.instance] != nil else { return Done() }
    let instance = try enter(operation.instance, turn)
    if instance.hadLocks.load(ordering: .acquiring) {
      locks.release { identifier, _ in identifier == operation.instance }
    }
    if turn.patience == .atOnce {
      let links = try store.describe(instance.file.handle).links
      guard links > 0 && !instance.mode.contains(.write) else { throw .wouldWait }
    }
    _ = instances.remove(operation.instance)
    dropIfNameless(instance.file.handle, export: instance.file.export)
    return Done()
  }
}

// MARK: Opening

extension FileServer {
  func createInstance(
    _ operation: CreateInstance, _ turn: Turn
  ) throws(StoreFailure) -> CreateInstance.Answer {
    let mode = operation.mode
    guard !mode.isDisjoint(with: [.read, .write, .execute, .directory]),
      !(mode.contains(.directory) && !mode.isDisjoint(with: [.write, .create, .truncate])),
      !(mode.contains(.truncate) && !mode.contains(.write))
    else { throw .refused(.modeNotSupported) }
    if !mode.isDisjoint(with: [.create, .truncate]) { try turn.mustBeAbleToWait() }
    let place = try place(operation.name, turn)
    let host = turn.request.principal?.host ?? ""
    let (identifier, opened) = try instances.admit(of: host) { () throws(StoreFailure) in
      try open(operation, place, turn)
    }
    owners.watchLater()
    var answer = opened
    answer.instance = identifier
    return answer
  }

  /// The answer lacks the number of the instance.
  private typealias Opened = (Instance, CreateInstance.Answer)

  /// Opens what is there, or makes it if the mode says so; again, if the name comes and goes
  /// meanwhile.
  private func open(
    _ operation: CreateInstance, _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> Opened {
    let mode = operation.mode
    let creates = mode.contains(.create) && !exports[place.object.export].isReadOnly
    for _ in 0..<Self.openingsMax {
      if creates && !place.path.isEmpty {
        do throws(StoreFailure) {
          return try make(operation, place, turn)
        } catch {
          guard error == .refused(.duplicateName), !mode.contains(.exclusive) else { throw error }
        }
      }
      do throws(StoreFailure) {
        let object = try find(place, turn.patience)
        if mode.contains([.create, .exclusive]) { throw .refused(.duplicateName) }
        return try open(object, operation, place, turn)
      } catch {
        guard error == .refused(.notFound), mode.contains(.create) else { throw error }
        guard creates && !place.path.isEmpty else { throw .refused(.readOnly) }
      }
    }
    throw .refused(.retry)
  }

  private func make(
    _ operation: CreateInstance, _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> Opened {
    let (parent, name) = try parent(place, turn.patience, ofRoot: .isContext)
    let handle = try store.create(
      name, in: parent.handle, operation.mode, permissions: operation.permissions, as: place.who)
    let file = HeldObject(handle, of: store, export: place.object.export)
    let object = HeldObject(
      try store.object(of: handle), of: store, export: place.object.export)
    return try opened(file, of: object, isNew: true, operation, place, turn)
  }

  private func open(
    _ object: HeldObject, _ operation: CreateInstance, _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> Opened {
    let mode = operation.mode
    switch try store.describe(object.handle).kind {
    case .context: guard mode.contains(.directory) else { throw .refused(.isContext) }
    case .file: guard !mode.contains(.directory) else { throw .refused(.notContext) }
    case .symbolicLink:
      throw .refused(mode.contains(.directory) ? .notContext : .tooManyLinks)
    // Linux runs fifos, sockets and devices itself, on the client's host.
    default: throw .refused(mode.contains(.directory) ? .notContext : .notSupported)
    }
    if !mode.isDisjoint(with: [.write, .truncate]) { try mustBeWriteable(object.export) }
    let file = HeldObject(
      try open(object.handle, mode, place, turn), of: store, export: object.export)
    if mode.contains([.truncate, .dropPrivileges]) {
      try dropPrivileges(file.handle, as: place.who)
    }
    return try opened(file, of: object, isNew: false, operation, place, turn)
  }

  /// Opens an object; a caller who does not want to wait for others does not wait for a lease.
  private func open(
    _ object: StoreHandle, _ mode: OpenMode, _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> StoreHandle {
    let isMountMade = turn.request.principal?.marks.contains(.mountMade) == true
    do throws(StoreFailure) {
      return try store.open(
        object, mode, as: place.who, mayRunUnread: isMountMade, turn.patience)
    } catch {
      guard case .heldUp(let code) = error, mode.contains(.nonBlocking) else { throw error }
      throw .refused(code)
    }
  }

  private func opened(
    _ file: HeldObject, of object: HeldObject, isNew: Bool, _ operation: CreateInstance,
    _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> Opened {
    var descriptor = try describe(object, by: file.handle, name: place.path.last, turn)
    // One handle for the object, however often it is open: the context's, if it has one.
    let object = contexts.object(descriptor.context) ?? object
    let instance = Instance(
      file, of: object, identity: descriptor.identity, mode: operation.mode,
      owner: operation.owner.isValid ? operation.owner : turn.request.client,
      host: turn.request.principal?.host)
    descriptor.attributes = instance.attributes
    let answer = CreateInstance.Answer(
      instance: InstanceID(rawValue: 0), attributes: instance.attributes, isNew: isNew,
      descriptor: descriptor)
    return (instance, answer)
  }

  /// How often a name may vanish between the try to make it and the try to open it.
  private static let openingsMax = 8
}
