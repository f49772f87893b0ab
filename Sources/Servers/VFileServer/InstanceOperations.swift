import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// The operations on instances: interface 0x0011.
extension FileServer {
  func queryInstance(
    _ query: QueryInstance, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    try describe(instance, turn)
  }

  func modifyInstance(
    _ operation: ModifyInstance, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    let file = try instance.content.file
    try mustBeWriteable(file.export)
    if operation.modification.size != nil && !instance.mode.contains(.write) {
      throw .refused(.notWriteable)
    }
    let who = try credentials(file.export, turn)
    try change(file.handle, isOpenFile: true, operation.modification, as: who, turn)
    return try describe(instance, turn)
  }

  private func describe(
    _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    let file = try instance.content.file
    // One handle for the object, however often it is open: the context's, if it has one.
    let object: HeldObject
    if let known = contexts[key: instance.content.key] {
      object = known
    } else {
      object = HeldObject(try store.object(of: file.handle), of: store, export: file.export)
    }
    var descriptor = try describe(object, by: file.handle, name: [], turn)
    descriptor.attributes = instance.mode.fileAttributes
    return descriptor
  }

  func readInstance(
    _ query: ReadInstance, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> ReadInstance.Answer {
    let file = try instance.content.file
    let count = min(query.count, Message.segmentBytesMax)
    if instance.mode.contains(.directory) {
      try turn.mustBeAbleToWait()
      return ReadInstance.Answer(data: try descriptors(instance, file, query.position, count))
    }
    guard instance.mode.readsFile else { throw .refused(.notReadable) }
    guard count > 0 else { return ReadInstance.Answer(data: []) }
    return ReadInstance.Answer(
      data: try store.read(file.handle, at: query.position, count: count, turn.patience))
  }

  /// As many whole descriptors of a directory as fit into `count` octets.
  ///
  /// They have only what the directory itself has: name, kind, inode, and the position of the next
  /// one.
  private func descriptors(
    _ instance: FileInstance, _ directory: HeldObject, _ position: UInt64, _ count: Int
  ) throws(StoreFailure) -> [UInt8] {
    var filling = Listing.Filling(count)
    var from = position
    while true {
      let entries = try instance.content.directoryLock.withLock { _ throws(StoreFailure) in
        try store.entries(of: directory.handle, from: from)
      }
      for entry in entries {
        do throws(Refusal) {
          guard try filling.add(Self.record(of: entry), nextPosition: entry.nextPosition) else {
            return filling.octets
          }
        } catch {
          throw .refused(error.code)
        }
        from = entry.nextPosition
      }
      if entries.isEmpty { return filling.octets }
    }
  }

  private static func record(of entry: DirectoryEntry) -> Descriptor {
    var descriptor = Descriptor(
      kind: entry.kind,
      identity: Descriptor.Identity(device: 0, inode: entry.inode, generation: 0))
    descriptor.links = 0
    descriptor.blockSize = 0
    descriptor.owner = ""
    descriptor.group = ""
    descriptor.name = entry.name
    return descriptor
  }

  func writeInstance(
    _ operation: WriteInstance, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> WriteInstance.Answer {
    let file = try instance.content.file
    guard instance.mode.contains(.write) else { throw .refused(.notWriteable) }
    let who = try credentials(file.export, turn)
    let handle = file.handle
    let count =
      operation.data.isEmpty
      ? 0
      : try store.write(
        handle, operation.data, at: operation.position, instance.mode, as: who, turn.patience)
    if operation.dropsPrivileges { try dropPrivileges(handle, as: who) }
    return WriteInstance.Answer(count: count, size: try store.describe(handle).size)
  }

  func syncInstance(
    _ operation: SyncInstance, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> Done {
    try store.synchronize(instance.content.file.handle, isDataOnly: operation.isDataOnly)
    return Done()
  }

  /// Closes the open object of an ended instance, and calls `done` once a written file is closed: a
  /// program that waits for that may want to run it.
  ///
  /// The last close of a file without names frees its space, which takes time.
  func close(_ instance: FileInstance, _ done: @escaping @Sendable () -> Void) {
    let content = instance.content
    content.end()
    if content.hadLocks.load(ordering: .acquiring) { locks.release(instance) }
    openings.withLock { openings in
      let left = (openings[content.key] ?? 1) - 1
      openings[content.key] = left > 0 ? left : nil
    }
    // This function must have no reference when it calls `done`: else the file would still be open.
    if instance.mode.contains(.write) || !closeAtOnce(content) {
      return backplane.disk { [self] in
        closeOnDisk(content)
        done()
      }
    }
    done()
  }

  /// Closes a file that has a name; false if it has none.
  private func closeAtOnce(_ content: FileContent) -> Bool {
    guard let file = content.take() else { return true }
    guard let state = try? store.describe(file.handle), state.links > 0 else {
      content.putBack(file)
      return false
    }
    return true
  }

  private func closeOnDisk(_ content: FileContent) {
    guard let file = content.take() else { return }
    dropIfNameless(file.handle, export: file.export)
  }
}
