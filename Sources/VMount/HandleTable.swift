internal import Synchronization
internal import VProtocol

/// FUSE's number for an open file or directory (fh). Never used a second time.
typealias HandleID = UInt64

/// An instance behind an open file or directory, and how to make it again.
struct Handle: Sendable {
  let node: NodeID
  /// An instance is used by the user who opened it, whoever has the descriptor now.
  let user: String
  /// The mode in which the instance is made again when its manager has lost it.
  let mode: OpenMode
  let attributes: UIOAttributes
  var manager: EntityID
  var instance: InstanceID
  /// Blocks read and written so far: the position of an object that has no octet positions.
  var blocksRead: UInt64 = 0
  var blocksWritten: UInt64 = 0

  /// Positions are octet offsets; else the position is the handle's own.
  var isPositional: Bool { attributes.contains(.randomAccess) && !attributes.contains(.stream) }
  /// Reading and writing may wait for people or other programs, so a signal ends them at once.
  var waitsForOthers: Bool { !attributes.isDisjoint(with: [.stream, .interactive]) }

  init(
    node: NodeID, user: String, mode: OpenMode, manager: EntityID,
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

/// What is open through this mount: instances, and listings of shared contexts.
final class HandleTable: Sendable {
  private enum Entry {
    case instance(Handle)
    case listing(node: NodeID, names: [[UInt8]])
  }

  private struct State {
    var entries: [HandleID: Entry] = [:]
    var lastID: HandleID = 0
  }

  private let state = Mutex(State())

  func add(_ handle: Handle) -> HandleID { add(.instance(handle)) }

  /// A shared context is listed as it was when it was opened.
  func addListing(of node: NodeID, _ names: [[UInt8]]) -> HandleID {
    add(.listing(node: node, names: names))
  }

  private func add(_ entry: Entry) -> HandleID {
    state.withLock { state in
      state.lastID += 1
      state.entries[state.lastID] = entry
      return state.lastID
    }
  }

  subscript(id: HandleID) -> Handle? {
    state.withLock { state in
      guard case .instance(let handle) = state.entries[id] else { return nil }
      return handle
    }
  }

  /// Some instance of the object of a node that `user` opened. Looks at all handles, so for rare
  /// use.
  func any(of node: NodeID, openedBy user: String) -> HandleID? {
    state.withLock { state in
      state.entries.first { entry in
        guard case .instance(let handle) = entry.value else { return false }
        return handle.node == node && handle.user == user
      }?.key
    }
  }

  func listing(_ id: HandleID) -> [[UInt8]]? {
    state.withLock { state in
      guard case .listing(_, let names) = state.entries[id] else { return nil }
      return names
    }
  }

  /// Takes a handle out: its node, and its instance where it had one.
  func remove(_ id: HandleID) -> (node: NodeID, handle: Handle?)? {
    state.withLock { state in
      switch state.entries.removeValue(forKey: id) {
      case .instance(let handle): (handle.node, handle)
      case .listing(let node, _): (node, nil)
      case nil: nil
      }
    }
  }

  /// Puts a new instance in the place of a lost one, unless another request did so already.
  func replace(
    _ id: HandleID, lost: Handle, by manager: EntityID, _ instance: InstanceID
  ) -> Bool {
    update(id) { handle in
      guard handle.instance == lost.instance, handle.manager == lost.manager else { return false }
      handle.manager = manager
      handle.instance = instance
      return true
    } ?? false
  }

  func countBlockRead(_ id: HandleID) { update(id) { $0.blocksRead += 1 } }
  func countBlockWritten(_ id: HandleID) { update(id) { $0.blocksWritten += 1 } }

  @discardableResult
  private func update<Value: Sendable>(_ id: HandleID, _ body: (inout Handle) -> Value) -> Value? {
    state.withLock { state in
      guard case .instance(var handle) = state.entries[id] else { return nil }
      defer { state.entries[id] = .instance(handle) }
      return body(&handle)
    }
  }
}
