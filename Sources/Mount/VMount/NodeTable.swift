internal import Synchronization
internal import VProtocol

/// FUSE's number for a node; 1 is the root of the mount.
///
/// Never used a second time.
typealias NodeID = UInt64

/// What a node stands for and how to find it again.
struct Node: Sendable {
  /// An object of a manager, as it was last found.
  struct Object: Sendable {
    let tree: Tree
    let identity: Descriptor.Identity
    let kind: ObjectKind
    var isStream = false
    var manager: EntityID
    /// The context granted for this very object: operations use it with an empty name.
    var context: ContextID
  }

  var parent: NodeID
  var name: [UInt8]
  var object: Object
  let inodeNumber: UInt64
  /// Times the kernel was told of this node and has not forgotten.
  fileprivate var lookups: UInt64 = 0
  fileprivate var opens = 0
  /// Nodes that need this one to spell their full name.
  fileprivate var children = 0

  fileprivate var isUnused: Bool { lookups == 0 && opens == 0 && children == 0 }

  fileprivate init(parent: NodeID, name: [UInt8], object: Object, inodeNumber: UInt64) {
    self.parent = parent
    self.name = name
    self.object = object
    self.inodeNumber = inodeNumber
  }
}

/// Every node that the kernel knows of, by number.
///
/// A node stands for an object, not for a path: a second lookup that finds the same object gives
/// the same node, and name and parent (the last ones seen) serve only to find it again. The table
/// holds values and numbers, no pointers, so that it can move to another process. It is as large
/// as the kernel's own cache of inodes, which bounds it by FORGET.
final class NodeTable: Sendable {
  fileprivate struct ObjectKey: Hashable {
    let tree: Tree
    let identity: Descriptor.Identity
  }

  fileprivate struct NameKey: Hashable {
    let parent: NodeID
    let name: [UInt8]
  }

  fileprivate struct State {
    var nodes: [NodeID: Node] = [:]
    var objects: [ObjectKey: NodeID] = [:]
    var names: [NameKey: NodeID] = [:]
    var lastID = NodeTable.root
  }

  static let root: NodeID = 1

  private let state: Mutex<State>

  /// A table of the root alone, which the kernel never forgets.
  init(root object: Node.Object) {
    var state = State()
    var root = Node(parent: Self.root, name: [], object: object, inodeNumber: 1)
    root.lookups = 1
    state.nodes[Self.root] = root
    state.objects[ObjectKey(tree: object.tree, identity: object.identity)] = Self.root
    self.state = Mutex(state)
  }

  subscript(id: NodeID) -> Node? { state.withLock { $0.nodes[id] } }

  /// The name of a node below the mount, its components separated by `/`.
  func fullName(of id: NodeID) -> [UInt8]? { state.withLock { $0.fullName(of: id) } }

  /// Finds or makes the node of an object, and counts one lookup of it.
  func lookUp(
    _ name: [UInt8], below parent: NodeID, as object: Node.Object
  ) -> (id: NodeID, node: Node) {
    state.withLock { state in
      let key = ObjectKey(tree: object.tree, identity: object.identity)
      // Linux locks a file while it is written: writers to a stream would wait for each other.
      if !object.isStream, let id = state.objects[key], state.nodes[id] != nil {
        state.nodes[id]?.object = object
        state.setName(of: id, parent: parent, name: name)
        return (id, state.countLookup(of: id))
      }
      let number = object.tree.inodeNumber(of: object.identity)
      let id = state.add(
        Node(parent: parent, name: name, object: object, inodeNumber: number))
      state.objects[key] = id
      return (id, state.countLookup(of: id))
    }
  }

  /// The kernel no longer counts on `count` of its lookups.
  func forget(_ id: NodeID, _ count: UInt64) {
    state.withLock { state in
      guard id != Self.root, let lookups = state.nodes[id]?.lookups else { return }
      state.nodes[id]?.lookups = lookups - min(lookups, count)
      state.removeIfUnused(id)
    }
  }

  func countOpen(of id: NodeID) {
    state.withLock { $0.nodes[id]?.opens += 1 }
  }

  func countClose(of id: NodeID) {
    state.withLock { state in
      state.nodes[id]?.opens -= 1
      state.removeIfUnused(id)
    }
  }

  /// The object was found again, by another manager or in another context.
  func rebind(_ id: NodeID, manager: EntityID, context: ContextID) {
    state.withLock { state in
      state.nodes[id]?.object.manager = manager
      state.nodes[id]?.object.context = context
    }
  }

  /// What had the first name has the second one now, and the other way round in an exchange.
  func rename(
    from old: (parent: NodeID, name: [UInt8]), to new: (parent: NodeID, name: [UInt8]),
    isExchange: Bool
  ) {
    state.withLock { state in
      let moved = state.names[NameKey(parent: old.parent, name: old.name)]
      let replaced = state.names[NameKey(parent: new.parent, name: new.name)]
      if let moved { state.setName(of: moved, parent: new.parent, name: new.name) }
      if isExchange, let replaced {
        state.setName(of: replaced, parent: old.parent, name: old.name)
      }
    }
  }
}

extension NodeTable.State {
  fileprivate func fullName(of id: NodeID) -> [UInt8]? {
    var components: [[UInt8]] = []
    var id = id
    while id != NodeTable.root {
      guard let node = nodes[id] else { return nil }
      components.append(node.name)
      id = node.parent
    }
    return Array(components.reversed().joined(separator: [UInt8(ascii: "/")]))
  }

  fileprivate mutating func add(_ node: Node) -> NodeID {
    lastID += 1
    nodes[lastID] = node
    nodes[node.parent]?.children += 1
    names[NodeTable.NameKey(parent: node.parent, name: node.name)] = lastID
    return lastID
  }

  fileprivate mutating func countLookup(of id: NodeID) -> Node {
    nodes[id]!.lookups += 1
    return nodes[id]!
  }

  fileprivate mutating func setName(of id: NodeID, parent: NodeID, name: [UInt8]) {
    guard let node = nodes[id], id != NodeTable.root else { return }
    if node.parent != parent {
      // Directories that changed places on their manager could seem to lie in each other.
      guard nodes[parent] != nil, !isAbove(id, parent) else { return }
      nodes[parent]?.children += 1
      nodes[id]?.parent = parent
      forgetName(of: id, node)
      nodes[node.parent]?.children -= 1
      removeIfUnused(node.parent)
    } else if node.name != name {
      forgetName(of: id, node)
    }
    nodes[id]?.name = name
    names[NodeTable.NameKey(parent: parent, name: name)] = id
  }

  private func isAbove(_ id: NodeID, _ other: NodeID) -> Bool {
    var other = other
    while other != NodeTable.root {
      if other == id { return true }
      guard let node = nodes[other] else { return false }
      other = node.parent
    }
    return false
  }

  private mutating func forgetName(of id: NodeID, _ node: Node) {
    let key = NodeTable.NameKey(parent: node.parent, name: node.name)
    if names[key] == id { names[key] = nil }
  }

  fileprivate mutating func removeIfUnused(_ id: NodeID) {
    var id = id
    while id != NodeTable.root, let node = nodes[id], node.isUnused {
      nodes[id] = nil
      forgetName(of: id, node)
      let key = NodeTable.ObjectKey(tree: node.object.tree, identity: node.object.identity)
      if objects[key] == id { objects[key] = nil }
      nodes[node.parent]?.children -= 1
      id = node.parent
    }
  }
}
