internal import Synchronization
internal import VProtocol
internal import VRuntime

/// A client's number for an open object; never used a second time.
public typealias OpenID = UInt64

/// An instance, and the way to open it again.
struct OpenObject: Sendable {
  let object: ObjectID
  /// An instance is used as the user who opened it, whichever process has it now.
  let user: ClientUser
  /// The mode in which the instance is opened again when its manager has lost it.
  let mode: OpenMode
  let attributes: UIOAttributes
  var manager: EntityID
  var instance: InstanceID
  /// Whether a lock that it had may have been given to others: then it can only be closed.
  var isBroken = false
  /// Blocks read and written so far: the position of an object that has no octet positions.
  var blocksRead: UInt64 = 0
  var blocksWritten: UInt64 = 0
  /// Where the object is thought to end: it may have changed since.
  var expectedEnd: UInt64
  /// Of a context that is read.
  var listing = ListingProgress()

  /// Whether positions are octet offsets; else they are counted here.
  var isPositional: Bool { attributes.contains(.randomAccess) && !attributes.contains(.stream) }
  /// Whether another instance would have other octets.
  var isSnapshot: Bool { attributes.contains(.fixedLength) && !attributes.contains(.storage) }
  /// Reading and writing may wait for people or other programs.
  var waits: Bool { !attributes.isDisjoint(with: [.stream, .interactive]) }
  /// Not nil where it `waits`: nothing is undone then.
  var undo: (@Sendable () -> Void)? { if waits { {} } else { nil } }

  init(
    object: ObjectID, user: ClientUser, mode: OpenMode, manager: EntityID,
    _ created: CreateInstance.Answer
  ) {
    self.object = object
    self.user = user
    self.mode = mode.subtracting([.create, .exclusive, .truncate, .dropPrivileges])
    self.manager = manager
    attributes = created.attributes
    instance = created.instance
    expectedEnd = created.descriptor.size
  }
}

/// The open objects of a client.
final class OpenTable: Sendable {
  private struct State {
    var opens: [OpenID: OpenObject] = [:]
    var lastID: OpenID = 0
  }

  private let state = Mutex(State())

  func add(_ open: OpenObject) -> OpenID {
    state.withLock { state in
      state.lastID += 1
      state.opens[state.lastID] = open
      return state.lastID
    }
  }

  subscript(id: OpenID) -> OpenObject? { state.withLock { $0.opens[id] } }

  /// Any instance of an object that `user` opened.
  ///
  /// Looks at all open objects, so it is for rare use.
  func any(of object: ObjectID, openedBy user: ClientUser) -> OpenID? {
    state.withLock { state in
      state.opens.first { $0.value.object == object && $0.value.user == user }?.key
    }
  }

  /// Every open instance as a line: its number, its manager, the user who opened it, its mode.
  var text: String {
    state.withLock { $0.opens.sorted { $0.key < $1.key }.map(\.value) }.map {
      "\($0.instance.rawValue) \($0.manager) \($0.user.name) \($0.mode.words)\n"
    }.joined()
  }

  func remove(_ id: OpenID) -> OpenObject? { state.withLock { $0.opens.removeValue(forKey: id) } }

  /// Replaces a lost instance by a new one, unless another request did so already.
  func replace(
    _ id: OpenID, lost: OpenObject, by manager: EntityID, _ instance: InstanceID
  ) -> Bool {
    state.withLock { state in
      guard let open = state.opens[id], open.instance == lost.instance,
        open.manager == lost.manager
      else { return false }
      state.opens[id]?.manager = manager
      state.opens[id]?.instance = instance
      return true
    }
  }

  func markBroken(_ id: OpenID) { state.withLock { $0.opens[id]?.isBroken = true } }

  /// A read or a write has told something of where the object ends.
  func noteEnd(_ id: OpenID, at position: UInt64) {
    state.withLock { $0.opens[id]?.expectedEnd = position }
  }

  /// Notes records that were read; false if the manager's positions do not advance.
  func note(_ records: [Descriptor], from position: UInt64, _ id: OpenID) -> Bool {
    state.withLock { $0.opens[id]?.listing.note(records, from: position) ?? true }
  }

  func countBlockRead(_ id: OpenID) { state.withLock { $0.opens[id]?.blocksRead += 1 } }
  func countBlockWritten(_ id: OpenID) { state.withLock { $0.opens[id]?.blocksWritten += 1 } }
}
