import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// Opening by name.
extension FileServer {
  func createInstance(
    _ operation: CreateInstance, _ turn: Turn
  ) throws(StoreFailure) -> Reply {
    let mode = operation.mode
    if !mode.isDisjoint(with: [.create, .truncate]) { try turn.mustBeAbleToWait() }
    let place = try place(operation.name, turn)
    let opened = try open(operation, place, turn)
    let content = FileContent(opened.file, opened.key, openedBy: operation.owner)
    openings.withLock { $0[opened.key, default: 0] += 1 }
    let instance = objects.enter(content, for: operation, turn.caller)
    let answer = CreateInstance.Answer(
      instance: instance.id, attributes: opened.descriptor.attributes, isNew: opened.isNew,
      descriptor: opened.descriptor)
    return Reply(
      message: answer.message, descriptor: passedDescriptor(of: opened.file, mode, turn.request))
  }

  /// The open file, for a client of this host that can use it without the server: its descriptor
  /// was opened with exactly the rights of the instance.
  private func passedDescriptor(
    of file: HeldObject, _ mode: OpenMode, _ request: Request
  ) -> PassedDescriptor? {
    guard request.isLocal, store.handlesAreDescriptors, !mode.contains(.directory) else {
      return nil
    }
    return PassedDescriptor(file.handle.rawValue, heldBy: file)
  }

  private struct Opened {
    var file: HeldObject
    var key: ObjectKey
    var isNew: Bool
    var descriptor: Descriptor
  }

  /// Opens the object, or makes it if the mode says so; repeats that if the name is made and
  /// removed meanwhile.
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
    // Linux itself implements fifos, sockets and devices, on the client's host.
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

  /// Opens an object; with a caller that does not want to wait, it does not wait for a lease.
  private func open(
    _ object: StoreHandle, _ mode: OpenMode, _ place: Place, _ turn: Turn
  ) throws(StoreFailure) -> StoreHandle {
    let isMountMade = turn.caller.principal.marks.contains(.mountMade)
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
    descriptor.attributes = operation.mode.fileAttributes
    return Opened(
      file: file, key: ObjectKey(export: file.export, identity: descriptor.identity),
      isNew: isNew, descriptor: descriptor)
  }

  /// How often a name may disappear between the try to make it and the try to open it.
  private static let openingsMax = 8
}
