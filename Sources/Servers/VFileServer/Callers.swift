import VObjects
import VProtocol
import VRuntime
import VStore

/// The caller of an operation, and the rights that the export gives.
extension FileServer {
  /// The object of a context, if its export is served to the caller.
  ///
  /// A context is a shared name, like an open descriptor that was passed on: names below it need
  /// the caller's own right to pass it, and the object itself is used with the caller's own rights
  /// on it. The directories above it were checked when the number was granted, and it cannot be
  /// guessed.
  func enter(_ context: ContextID, _ turn: Turn) throws(StoreFailure) -> HeldObject {
    try lookAgain(context, turn)
    guard let object = contexts[context], claims.holds(object.export) else {
      throw .refused(.invalidContext)
    }
    let isAdmitted = exports[object.export].admits(
      turn.request.principal, isLocal: turn.request.isLocal, ownHost: backplane.host)
    guard isAdmitted else { throw .refused(.noPermission) }
    return object
  }

  /// The rights of the caller in an export: those of the user of the same name here; those of
  /// nobody for users who are unknown here.
  ///
  /// If the table of users gives no answer, the operation is refused.
  func credentials(_ export: Int, _ turn: Turn) throws(StoreFailure) -> Credentials {
    let standing = exports[export].standing(
      of: turn.request.principal, isLocal: turn.request.isLocal, ownHost: backplane.host)
    switch standing {
    case .root: return .root
    case .nobody: return .nobody
    case .number(let number): return Credentials(uid: number, gid: number)
    case .user(let name, let mayBeRoot):
      guard let who = try users.credentials(ofUser: name, turn.patience) else { return .nobody }
      return who.isRoot && !mayBeRoot ? .nobody : who
    }
  }

  func mustBeWriteable(_ export: Int) throws(StoreFailure) {
    guard !exports[export].isReadOnly else { throw .refused(.readOnly) }
  }

  /// The descriptor of an object or open file, with a context for the object.
  func describe(
    _ object: HeldObject, by handle: StoreHandle, name: [UInt8], _ turn: Turn
  ) throws(StoreFailure) -> Descriptor {
    let state = try store.describe(handle)
    let owner = try ownerName(turn) { () throws(StoreFailure) in
      try users.userName(state.uid, turn.patience)
    }
    let group = try ownerName(turn) { () throws(StoreFailure) in
      try users.groupName(state.gid, turn.patience)
    }
    var descriptor = state.descriptor
    descriptor.attributes = attributes(descriptor.kind, object.export)
    descriptor.owner = Self.wireName(owner, state.uid)
    descriptor.group = Self.wireName(group, state.gid)
    descriptor.name = name
    descriptor.context = contexts.grant(
      ObjectKey(export: object.export, identity: descriptor.identity), object)
    sweepLater()
    return descriptor
  }

  /// The name of a number; nil, so that the number is shown, if it is not found in time and the
  /// operation has been done already: it is not repeated for a name.
  private func ownerName(
    _ turn: Turn, _ find: () throws(StoreFailure) -> String?
  ) throws(StoreFailure) -> String? {
    do throws(StoreFailure) {
      return try find()
    } catch {
      guard turn.patience == .mayWait && !turn.mayStartAnew else { throw error }
      return nil
    }
  }

  /// What an object could be opened for; permissions are checked when it is.
  private func attributes(_ kind: ObjectKind, _ export: Int) -> UIOAttributes {
    switch kind {
    case .context: [.readable, .storage, .variableBlock, .multiBlock]
    case .file:
      exports[export].isReadOnly
        ? [.readable, .storage, .randomAccess, .multiBlock]
        : [.readable, .writeable, .storage, .randomAccess, .multiBlock]
    default: []
    }
  }

  private static func wireName(_ name: String?, _ number: UInt32) -> String {
    guard let name, !name.isEmpty, name.utf8.count <= Descriptor.nameBytesMax else {
      return "#\(number)"
    }
    return name
  }

  /// Makes the changes that a client asks for, as `who`.
  func change(
    _ handle: StoreHandle, isOpenFile: Bool, _ modification: Modification, as who: Credentials,
    _ turn: Turn
  ) throws(StoreFailure) {
    var change = Change()
    change.size = modification.size
    if let owner = modification.owner {
      change.uid = try identifier(owner, who) { name throws(StoreFailure) in
        try users.credentials(ofUser: name, turn.patience)?.uid
      }
    }
    if let group = modification.group {
      change.gid = try identifier(group, who) { name throws(StoreFailure) in
        try users.groupID(name, turn.patience)
      }
    }
    change.permissions = modification.permissions
    change.accessed = modification.accessed
    change.modified = modification.modified
    try store.change(handle, isOpenFile: isOpenFile, change, as: who)
    if modification.dropsPrivileges { try dropPrivileges(handle, as: who) }
  }

  /// A user or group from the wire as a number here.
  ///
  /// A bare number may mean another user on another host, so only root may give one.
  private func identifier(
    _ name: String, _ who: Credentials,
    _ find: (String) throws(StoreFailure) -> UInt32?
  ) throws(StoreFailure) -> UInt32 {
    guard name.hasPrefix("#") else {
      guard let number = try find(name) else { throw .refused(.badArguments) }
      return number
    }
    guard who.isRoot else { throw .refused(.notOwner) }
    guard let number = UInt32(name.dropFirst()), number != UInt32.max else {
      throw .refused(.badArguments)
    }
    return number
  }

  /// Drops set-user and set-group bits where Linux would on a write.
  ///
  /// For all users but root Linux drops them itself, and root of a client may be one that has no
  /// right to keep them.
  func dropPrivileges(_ handle: StoreHandle, as who: Credentials) throws(StoreFailure) {
    guard who.isRoot else { return }
    let state = try store.describe(handle)
    guard state.kind == .file else { return }
    var permissions = state.permissions & ~Self.setUser
    if permissions & Self.groupExecute != 0 { permissions &= ~Self.setGroup }
    guard permissions != state.permissions else { return }
    var change = Change()
    change.permissions = permissions
    try store.change(handle, isOpenFile: false, change, as: who)
  }

  static let setUser: UInt32 = 0o4000
  static let setGroup: UInt32 = 0o2000
  static let groupExecute: UInt32 = 0o010
}
