internal import Synchronization
internal import VProtocol
internal import VRuntime

/// FUSE's number for an open file or directory (fh).
///
/// Never used a second time.
typealias HandleID = UInt64

/// An instance behind an open file or directory, and how to make it again.
struct Handle: Sendable {
  let node: NodeID
  /// An instance is used by the user who opened it, whoever has the descriptor now.
  let user: ClientUser
  /// The mode in which the instance is made again when its manager has lost it.
  let mode: OpenMode
  let attributes: UIOAttributes
  var manager: EntityID
  var instance: InstanceID
  /// A lock that was held through it may have been given to others: it can only be closed.
  var isBroken = false
  /// Blocks read and written so far: the position of an object that has no octet positions.
  var blocksRead: UInt64 = 0
  var blocksWritten: UInt64 = 0

  /// Positions are octet offsets; else the position is the handle's own.
  var isPositional: Bool { attributes.contains(.randomAccess) && !attributes.contains(.stream) }
  /// Another instance would have other octets.
  var isSnapshot: Bool { attributes.contains(.fixedLength) && !attributes.contains(.storage) }
  /// Not nil where reading and writing may wait for people or other programs: nothing is undone
  /// then.
  var undo: (@Sendable () -> Void)? {
    if attributes.isDisjoint(with: [.stream, .interactive]) { nil } else { {} }
  }

  init(
    node: NodeID, user: ClientUser, mode: OpenMode, manager: EntityID,
    _ created: CreateInstance.Answer
  ) {
    self.node = node
    self.user = user
    self.mode = mode.subtracting([.create, .exclusive, .truncate, .dropPrivileges])
    self.manager = manager
    attributes = created.attributes
    instance = created.instance
  }
}

/// What is open through this mount.
final class HandleTable: Sendable {
  private struct State {
    var handles: [HandleID: Handle] = [:]
    var lastID: HandleID = 0
  }

  private let state = Mutex(State())

  func add(_ handle: Handle) -> HandleID {
    state.withLock { state in
      state.lastID += 1
      state.handles[state.lastID] = handle
      return state.lastID
    }
  }

  subscript(id: HandleID) -> Handle? { state.withLock { $0.handles[id] } }

  /// Some instance of the object of a node that `user` opened.
  ///
  /// Looks at all handles, so for rare use.
  func any(of node: NodeID, openedBy user: ClientUser) -> HandleID? {
    state.withLock { state in
      state.handles.first { $0.value.node == node && $0.value.user == user }?.key
    }
  }

  /// Every open instance as a line: its number, its manager, who opened it, how.
  var text: String {
    state.withLock { $0.handles.sorted { $0.key < $1.key }.map(\.value) }.map {
      "\($0.instance.rawValue) \($0.manager) \($0.user.name) \($0.mode.words)\n"
    }.joined()
  }

  func remove(_ id: HandleID) -> Handle? { state.withLock { $0.handles.removeValue(forKey: id) } }

  /// Puts a new instance in the place of a lost one, unless another request did so already.
  func replace(
    _ id: HandleID, lost: Handle, by manager: EntityID, _ instance: InstanceID
  ) -> Bool {
    state.withLock { state in
      guard let handle = state.handles[id], handle.instance == lost.instance,
        handle.manager == lost.manager
      else { return false }
      state.handles[id]?.manager = manager
      state.handles[id]?.instance = instance
      return true
    }
  }

  func markBroken(_ id: HandleID) { state.withLock { $0.handles[id]?.isBroken = true } }

  func countBlockRead(_ id: HandleID) { state.withLock { $0.handles[id]?.blocksRead += 1 } }
  func countBlockWritten(_ id: HandleID) { state.withLock { $0.handles[id]?.blocksWritten += 1 } }
}
