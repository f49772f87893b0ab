import VFileServer
import VProtocol
import VStore

/// The rules of the tree in a `MemoryStore`.
extension MemoryStore.State {
  func node(_ handle: StoreHandle) throws(StoreFailure) -> Int {
    guard let (node, _) = handles[handle.rawValue] else { throw .refused(.deviceError) }
    return node
  }

  mutating func hold(_ node: Int, _ mode: OpenMode) -> StoreHandle {
    defer { nextHandle += 1 }
    handles[nextHandle] = (node, mode)
    return StoreHandle(rawValue: nextHandle)
  }

  /// Ends a node that has neither names nor handles.
  mutating func forget(_ node: Int) {
    guard nodes[node]?.links == 0, !handles.values.contains(where: { $0.node == node }) else {
      return
    }
    nodes[node] = nil
  }

  func check(_ number: Int, _ mask: UInt32, as who: Credentials) throws(StoreFailure) {
    guard let node = nodes[number] else { throw .refused(.deviceError) }
    if who.isRoot {
      guard mask & 1 == 0 || node.kind != .file || node.permissions & 0o111 != 0 else {
        throw .refused(.noPermission)
      }
      return
    }
    let granted: UInt32 =
      if who.uid == node.uid {
        node.permissions >> 6
      } else if who.gid == node.gid || who.groups.contains(node.gid) {
        node.permissions >> 3
      } else {
        node.permissions
      }
    guard mask & ~granted & 7 == 0 else { throw .refused(.noPermission) }
  }

  func child(_ name: [UInt8], of parent: Int, as who: Credentials) throws(StoreFailure) -> Int {
    guard nodes[parent]?.kind == .context else { throw .refused(.notContext) }
    try check(parent, 1, as: who)
    guard let place = nodes[parent]?.names[name] else { throw .refused(.notFound) }
    return place.node
  }

  func checkFree(_ name: [UInt8], in parent: Int, as who: Credentials) throws(StoreFailure) {
    do throws(StoreFailure) {
      _ = try child(name, of: parent, as: who)
    } catch {
      guard error == .refused(.notFound) else { throw error }
      // A removed directory takes no new names.
      guard nodes[parent]?.links != 0 else { throw .refused(.notFound) }
      try check(parent, 2, as: who)
      return
    }
    throw .refused(.duplicateName)
  }

  func checkKind(_ number: Int, isDirectory: Bool) throws(StoreFailure) {
    guard (nodes[number]?.kind == .context) == isDirectory else {
      throw .refused(isDirectory ? .notContext : .isContext)
    }
  }

  func checkEmpty(_ number: Int) throws(StoreFailure) {
    guard nodes[number]?.names.isEmpty ?? true else { throw .refused(.contextNotEmpty) }
  }

  mutating func make(_ kind: ObjectKind, permissions: UInt32, as who: Credentials) -> Int {
    clock += 1
    defer { nextNode += 1 }
    nodes[nextNode] = MemoryStore.Node(
      kind: kind, permissions: permissions & 0o7777, uid: who.uid, gid: who.gid, born: clock,
      modified: clock, accessed: clock, changed: clock)
    return nextNode
  }

  mutating func touch(_ number: Int) {
    clock += 1
    nodes[number]?.modified = clock
    nodes[number]?.changed = clock
  }

  mutating func enter(_ name: [UInt8], _ number: Int, in parent: Int) {
    guard let position = nodes[parent]?.nextPosition else { return }
    nodes[parent]?.names[name] = (number, position)
    nodes[parent]?.nextPosition = position + 1
    touch(parent)
  }

  mutating func leave(_ name: [UInt8], in parent: Int) {
    guard let number = nodes[parent]?.names.removeValue(forKey: name)?.node else { return }
    if nodes[number]?.kind == .context {
      nodes[number]?.links = 0
      nodes[parent]?.links -= 1
    } else {
      nodes[number]?.links -= 1
    }
    touch(parent)
    forget(number)
  }

  /// Refuses in Linux's order of checks.
  mutating func rename(
    _ oldName: [UInt8], in oldParent: Int, to newName: [UInt8], in newParent: Int,
    _ mode: RenameObject.Mode, as who: Credentials
  ) throws(StoreFailure) {
    for parent in [oldParent, newParent] {
      guard nodes[parent]?.kind == .context else { throw .refused(.notContext) }
      try check(parent, 1, as: who)
    }
    let number = try child(oldName, of: oldParent, as: who)
    let other = nodes[newParent]?.names[newName]?.node
    if mode == .noReplace && other != nil { throw .refused(.duplicateName) }
    if mode == .exchange && other == nil { throw .refused(.notFound) }
    guard !contains(newParent, in: number) else { throw .refused(.badArguments) }
    if let other, contains(oldParent, in: other) {
      throw .refused(mode == .exchange ? .badArguments : .contextNotEmpty)
    }
    if other == number { return }
    let isDirectory = nodes[number]?.kind == .context
    try check(oldParent, 2, as: who)
    if let other {
      try check(newParent, 2, as: who)
      if mode != .exchange { try checkKind(other, isDirectory: isDirectory) }
    } else {
      guard nodes[newParent]?.links != 0 else { throw .refused(.notFound) }
      try check(newParent, 2, as: who)
    }
    // The name `..` of a directory that gets another parent changes.
    for moved in [number, mode == .exchange ? other : nil] {
      guard let moved, oldParent != newParent, nodes[moved]?.kind == .context else { continue }
      try check(moved, 2, as: who)
    }
    if let other, mode != .exchange {
      try checkEmpty(other)
      leave(newName, in: newParent)
    }
    put(other == nil || mode != .exchange ? nil : other, at: oldName, in: oldParent)
    put(number, at: newName, in: newParent)
  }

  /// Gives a name another node, or none, and counts the directories below.
  private mutating func put(_ number: Int?, at name: [UInt8], in parent: Int) {
    let old = nodes[parent]?.names.removeValue(forKey: name)
    if let old, nodes[old.node]?.kind == .context { nodes[parent]?.links -= 1 }
    guard let number else { return touch(parent) }
    if nodes[number]?.kind == .context { nodes[parent]?.links += 1 }
    enter(name, number, in: parent)
  }

  /// Whether `inner` is `outer` or below it.
  func contains(_ inner: Int, in outer: Int) -> Bool {
    if inner == outer { return true }
    let below = nodes[outer]?.names.values.map(\.node) ?? []
    return below.contains { contains(inner, in: $0) }
  }
}
