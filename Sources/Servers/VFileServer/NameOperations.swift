import VProtocol
import VRuntime
import VStore

/// The place of a name, for its caller.
struct Place {
  var object: HeldObject
  var who: Credentials
  /// The path that is still to be followed from `object`.
  var path: RelativePath
}

/// The operations on names: interface 0x0010.
extension FileServer {
  func queryObject(_ query: QueryObject, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    let place = try place(query.name, turn)
    let object = try find(place, turn.patience)
    return try describe(object, by: object.handle, name: place.path.last, turn)
  }

  func modifyObject(_ operation: ModifyObject, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    let place = try place(operation.name, turn)
    try mustBeWriteable(place.object.export)
    let object = try find(place, turn.patience)
    try change(object.handle, isOpenFile: false, operation.modification, as: place.who, turn)
    return try describe(object, by: object.handle, name: place.path.last, turn)
  }

  func addName(_ operation: AddName, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    let new: NewObject =
      switch operation.kind {
      case .context: .directory(permissions: operation.permissions)
      case .symbolicLink: .symbolicLink(target: operation.target)
      default:
        .node(
          operation.kind, permissions: operation.permissions,
          deviceNumber: operation.deviceNumber)
      }
    if case .symbolicLink(let target) = new {
      guard !target.isEmpty, !target.contains(0) else { throw .refused(.badArguments) }
    }
    return try add(place(operation.name, turn), new, turn)
  }

  func linkName(_ operation: LinkName, _ turn: Turn) throws(StoreFailure) -> Descriptor {
    let source = try enter(operation.object, turn)
    let place = try place(operation.name, turn)
    guard place.object.export == source.export else { throw .refused(.differentManager) }
    try mustBeWriteable(source.export)
    try mustBeLinkable(source, by: place.who)
    return try add(place, .link(to: source.handle), turn)
  }

  /// One more name lets another user keep the object: only its owner may make one, or a user who
  /// may read and write it, whatever Linux's own setting is (fs.protected_hardlinks).
  private func mustBeLinkable(
    _ object: HeldObject, by who: Credentials
  ) throws(StoreFailure) {
    let state = try store.describe(object.handle)
    if who.isRoot || state.uid == who.uid { return }
    let isSetGroup =
      state.permissions & (Self.setGroup | Self.groupExecute)
      == Self.setGroup | Self.groupExecute
    guard state.kind == .file, state.permissions & Self.setUser == 0, !isSetGroup else {
      throw .refused(.notOwner)
    }
    do throws(StoreFailure) {
      try store.checkAccess(object.handle, mask: 6, as: who)
    } catch {
      throw error == .refused(.noPermission) ? .refused(.notOwner) : error
    }
  }

  private func add(
    _ place: Place, _ new: NewObject, _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    try mustBeWriteable(place.object.export)
    let (parent, name) = try parent(place, turn.patience, ofRoot: .duplicateName)
    try store.add(name, in: parent.handle, new, as: place.who)
    let made = try find(
      Place(object: parent, who: place.who, path: try RelativePath(name)), turn.patience)
    return try describe(made, by: made.handle, name: name, turn)
  }

  func removeName(_ operation: RemoveName, _ turn: Turn) throws(StoreFailure) -> Done {
    let place = try place(operation.name, turn)
    try mustBeWriteable(place.object.export)
    let (parent, name) = try parent(place, turn.patience, ofRoot: .inUse)
    try dropping(name, in: parent, as: place.who) { () throws(StoreFailure) in
      try store.remove(name, in: parent.handle, isDirectory: operation.isContext, as: place.who)
    }
    return Done()
  }

  func renameObject(_ operation: RenameObject, _ turn: Turn) throws(StoreFailure) -> Done {
    let old = try place(operation.old, turn)
    let new = try place(ContextName(operation.newContext, operation.newName), turn)
    guard old.object.export == new.object.export else { throw .refused(.differentManager) }
    try mustBeWriteable(old.object.export)
    let (oldParent, oldName) = try parent(old, turn.patience, ofRoot: .inUse)
    let (newParent, newName) = try parent(new, turn.patience, ofRoot: .inUse)
    try dropping(newName, in: newParent, as: old.who) { () throws(StoreFailure) in
      try store.rename(
        oldName, in: oldParent.handle, to: newName, in: newParent.handle, operation.mode,
        as: old.who)
    }
    return Done()
  }

  func readLink(_ query: ReadLink, _ turn: Turn) throws(StoreFailure) -> ReadLink.Answer {
    let object = try find(place(query.name, turn), turn.patience)
    return ReadLink.Answer(data: try store.readLink(object.handle))
  }

  func checkAccess(_ query: CheckAccess, _ turn: Turn) throws(StoreFailure) -> Done {
    let place = try place(query.name, turn)
    let object = try find(place, turn.patience)
    if query.mask & 2 != 0 { try mustBeWriteable(object.export) }
    try store.checkAccess(object.handle, mask: query.mask, as: place.who)
    return Done()
  }

  func queryStore(_ query: QueryStore, _ turn: Turn) throws(StoreFailure) -> QueryStore.Answer {
    let object = try find(place(query.name, turn), turn.patience)
    return try store.room(at: object.handle)
  }
}

// MARK: From names to objects

extension FileServer {
  func place(_ name: ContextName, _ turn: Turn) throws(StoreFailure) -> Place {
    let object = try enter(name.context, turn)
    let path = try RelativePath(name.rest)
    return Place(object: object, who: try credentials(object.export, turn), path: path)
  }

  func find(_ place: Place, _ patience: Patience) throws(StoreFailure) -> HeldObject {
    if place.path.isEmpty { return place.object }
    let handle = try store.lookUp(
      place.path, in: place.object.handle, as: place.who, patience)
    return HeldObject(handle, of: store, export: place.object.export)
  }

  /// The directory of a name's last component, and that component; the refusal `ofRoot` if the name
  /// has none.
  func parent(
    _ place: Place, _ patience: Patience, ofRoot code: ReplyCode
  ) throws(StoreFailure) -> (HeldObject, [UInt8]) {
    guard !place.path.isEmpty else { throw .refused(code) }
    let above = Place(object: place.object, who: place.who, path: place.path.parent)
    return (try find(above, patience), place.path.last)
  }
}
