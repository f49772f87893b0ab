internal import Synchronization
public import VProtocol

/// A client's number for an object that it knows; 1 is the root.
///
/// Never used a second time.
public typealias ObjectID = UInt64

/// An object that a client knows, and how to find it again.
public struct KnownObject: Sendable {
  /// An object of a manager, as it was last found.
  public struct Object: Sendable {
    public let tree: Tree
    public let identity: Descriptor.Identity
    public let kind: ObjectKind
    let isStream: Bool
    public var manager: EntityID
    /// The context granted for this object: operations use it with an empty name.
    var context: ContextID

    package init(
      tree: Tree, identity: Descriptor.Identity, kind: ObjectKind, isStream: Bool = false,
      manager: EntityID, context: ContextID
    ) {
      self.tree = tree
      self.identity = identity
      self.kind = kind
      self.isStream = isStream
      self.manager = manager
      self.context = context
    }
  }

  public fileprivate(set) var parent: ObjectID
  var name: [UInt8]
  public fileprivate(set) var object: Object
  /// The number of the object outside of this client: the same over restarts.
  public let number: UInt64
  /// How often it was looked up and not forgotten since.
  fileprivate var lookups: UInt64 = 0
  fileprivate var opens = 0
  /// The number of objects that need this one for their full name.
  fileprivate var children = 0

  fileprivate var isUnused: Bool { lookups == 0 && opens == 0 && children == 0 }

  fileprivate init(parent: ObjectID, name: [UInt8], object: Object, number: UInt64) {
    self.parent = parent
    self.name = name
    self.object = object
    self.number = number
  }
}

/// Every object that a client knows, by number.
///
/// A number stands for an object, not for a path: a second lookup that finds the same object gives
/// the same number, and name and parent (the last ones seen) serve only to find it again. The table
/// has values and numbers, no pointers, so that it can move to another process. The user of the
/// table bounds it by forgetting objects: the kernel by FORGET.
public final class ObjectTable: Sendable {
  fileprivate struct ObjectKey: Hashable {
    public let tree: Tree
    let identity: Descriptor.Identity
  }

  fileprivate struct NameKey: Hashable {
    let parent: ObjectID
    let name: [UInt8]
  }

  fileprivate struct State {
    var all: [ObjectID: KnownObject] = [:]
    var objects: [ObjectKey: ObjectID] = [:]
    var names: [NameKey: ObjectID] = [:]
    var lastID = ObjectTable.root
  }

  public static let root: ObjectID = 1

  private let state: Mutex<State>

  /// A table with only the root, which is never forgotten.
  package init(root object: KnownObject.Object) {
    var state = State()
    var root = KnownObject(parent: Self.root, name: [], object: object, number: 1)
    root.lookups = 1
    state.all[Self.root] = root
    state.objects[ObjectKey(tree: object.tree, identity: object.identity)] = Self.root
    self.state = Mutex(state)
  }

  public subscript(id: ObjectID) -> KnownObject? { state.withLock { $0.all[id] } }

  /// The name of an object below the root, its components separated by `/`.
  public func fullName(of id: ObjectID) -> [UInt8]? { state.withLock { $0.fullName(of: id) } }

  /// Finds or makes the number of an object, and counts one lookup of it.
  package func lookUp(
    _ name: [UInt8], below parent: ObjectID, as object: KnownObject.Object
  ) -> (id: ObjectID, known: KnownObject) {
    state.withLock { state in
      let key = ObjectKey(tree: object.tree, identity: object.identity)
      // Linux locks a file while it is written: writers to one stream would wait for each other.
      if !object.isStream, let id = state.objects[key], state.all[id] != nil {
        state.all[id]?.object = object
        state.setName(of: id, parent: parent, name: name)
        return (id, state.countLookup(of: id))
      }
      let number = object.tree.number(of: object.identity)
      let id = state.add(
        KnownObject(parent: parent, name: name, object: object, number: number))
      state.objects[key] = id
      return (id, state.countLookup(of: id))
    }
  }

  /// Takes `count` lookups back; an object without lookups is forgotten.
  public func forget(_ id: ObjectID, _ count: UInt64) {
    state.withLock { state in
      guard id != Self.root, let lookups = state.all[id]?.lookups else { return }
      state.all[id]?.lookups = lookups - min(lookups, count)
      state.removeIfUnused(id)
    }
  }

  package func countOpen(of id: ObjectID) {
    state.withLock { $0.all[id]?.opens += 1 }
  }

  package func countClose(of id: ObjectID) {
    state.withLock { state in
      state.all[id]?.opens -= 1
      state.removeIfUnused(id)
    }
  }

  /// Notes that the object was found again, with another manager or context.
  func rebind(_ id: ObjectID, manager: EntityID, context: ContextID) {
    state.withLock { state in
      state.all[id]?.object.manager = manager
      state.all[id]?.object.context = context
    }
  }

  /// Moves the first name's object to the second name, and the other way round in an exchange.
  public func rename(
    from old: (parent: ObjectID, name: [UInt8]), to new: (parent: ObjectID, name: [UInt8]),
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

extension ObjectTable.State {
  fileprivate func fullName(of id: ObjectID) -> [UInt8]? {
    var components: [[UInt8]] = []
    var id = id
    while id != ObjectTable.root {
      guard let known = all[id] else { return nil }
      components.append(known.name)
      id = known.parent
    }
    return Array(components.reversed().joined(separator: [UInt8(ascii: "/")]))
  }

  fileprivate mutating func add(_ known: KnownObject) -> ObjectID {
    lastID += 1
    all[lastID] = known
    all[known.parent]?.children += 1
    names[ObjectTable.NameKey(parent: known.parent, name: known.name)] = lastID
    return lastID
  }

  fileprivate mutating func countLookup(of id: ObjectID) -> KnownObject {
    all[id]!.lookups += 1
    return all[id]!
  }

  fileprivate mutating func setName(of id: ObjectID, parent: ObjectID, name: [UInt8]) {
    guard let known = all[id], id != ObjectTable.root else { return }
    if known.parent != parent {
      // Directories that the manager has exchanged could seem to contain each other.
      guard all[parent] != nil, !isAbove(id, parent) else { return }
      all[parent]?.children += 1
      all[id]?.parent = parent
      forgetName(of: id, known)
      all[known.parent]?.children -= 1
      removeIfUnused(known.parent)
    } else if known.name != name {
      forgetName(of: id, known)
    }
    all[id]?.name = name
    names[ObjectTable.NameKey(parent: parent, name: name)] = id
  }

  private func isAbove(_ id: ObjectID, _ other: ObjectID) -> Bool {
    var other = other
    while other != ObjectTable.root {
      if other == id { return true }
      guard let known = all[other] else { return false }
      other = known.parent
    }
    return false
  }

  private mutating func forgetName(of id: ObjectID, _ known: KnownObject) {
    let key = ObjectTable.NameKey(parent: known.parent, name: known.name)
    if names[key] == id { names[key] = nil }
  }

  fileprivate mutating func removeIfUnused(_ id: ObjectID) {
    var id = id
    while id != ObjectTable.root, let known = all[id], known.isUnused {
      all[id] = nil
      forgetName(of: id, known)
      let key = ObjectTable.ObjectKey(tree: known.object.tree, identity: known.object.identity)
      if objects[key] == id { objects[key] = nil }
      all[known.parent]?.children -= 1
      id = known.parent
    }
  }
}
