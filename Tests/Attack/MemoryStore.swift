import Synchronization
import VFileServer
import VProtocol
import VRuntime
import VStore

/// The users of a simulated host; their numbers are the table's, root is 0.
struct FixedUsers: UserTable {
  var ids: [String: UInt32] = ["root": 0]

  func credentials(ofUser name: String, _ patience: Patience) -> Credentials? {
    ids[name].map { Credentials(uid: $0, gid: $0) }
  }
  func groupID(_ name: String, _ patience: Patience) -> UInt32? { ids[name] }
  func userName(_ uid: UInt32, _ patience: Patience) -> String? {
    ids.first { $0.value == uid }?.key
  }
  func groupName(_ gid: UInt32, _ patience: Patience) -> String? { userName(gid, patience) }
}

/// A disk in memory: a tree of numbered nodes, with Linux's simple permissions.
///
/// It never waits. Every path leads to the one root, in which anybody may write. Time is a count of
/// changes, so that the same operations always give the same disk.
final class MemoryStore: FileStore {
  struct Node: Sendable {
    var kind: ObjectKind
    var permissions: UInt32
    var uid: UInt32
    var gid: UInt32
    var links: UInt32 = 1
    var deviceNumber: UInt64 = 0
    var data: [UInt8] = []
    var attributes: [[UInt8]: [UInt8]] = [:]
    /// For a directory; a name keeps its position, which is never used again.
    var names: [[UInt8]: (node: Int, position: UInt64)] = [:]
    var nextPosition: UInt64 = 1
    var born: Int64
    var modified: Int64
    var accessed: Int64
    var changed: Int64
  }

  struct State: Sendable {
    var nodes: [Int: Node] = [:]
    /// Node and mode; an object has the empty mode.
    var handles: [Int32: (node: Int, mode: OpenMode)] = [:]
    var nextNode = 1
    var nextHandle: Int32 = 1
    var clock: Int64 = 0
  }

  private let state = Mutex(State())
  private static let root = 1

  init() {
    state.withLock {
      _ = $0.make(.context, permissions: 0o777, as: .root)
      $0.nodes[Self.root]?.links = 2
    }
  }

  /// How many handles are open, to find those that were never closed.
  var handleCount: Int { state.withLock { $0.handles.count } }

  private func with<Result: Sendable>(
    _ body: (inout State) throws(StoreFailure) -> Result
  ) throws(StoreFailure) -> Result {
    try state.withLock { state throws(StoreFailure) in try body(&state) }
  }

  // MARK: Finding and describing

  var handlesAreDescriptors: Bool { false }

  func openRoot(_ path: String) throws(StoreFailure) -> StoreHandle {
    try with { state in state.hold(Self.root, []) }
  }

  func lookUp(
    _ path: RelativePath, in directory: StoreHandle, as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    try with { state throws(StoreFailure) in
      var node = try state.node(directory)
      for (depth, name) in path.octets.split(separator: UInt8(ascii: "/")).enumerated() {
        if depth > 0 && state.nodes[node]?.kind == .symbolicLink {
          throw .refused(.tooManyLinks)
        }
        node = try state.child(Array(name), of: node, as: who)
      }
      return state.hold(node, [])
    }
  }

  func close(_ handle: StoreHandle) {
    state.withLock { state in
      guard let (node, _) = state.handles.removeValue(forKey: handle.rawValue) else { return }
      state.forget(node)
    }
  }

  func describe(_ handle: StoreHandle) throws(StoreFailure) -> ObjectState {
    try with { state throws(StoreFailure) in
      let number = try state.node(handle)
      guard let node = state.nodes[number] else { throw .refused(.deviceError) }
      var result = Descriptor(
        kind: node.kind,
        identity: Descriptor.Identity(device: 1, inode: UInt64(number), generation: 1))
      result.permissions = node.permissions
      result.links = node.links
      result.size = UInt64(node.data.count)
      result.allocatedBytes = UInt64((node.data.count + 511) / 512 * 512)
      result.deviceNumber = node.deviceNumber
      (result.born, result.modified) = (node.born, node.modified)
      (result.accessed, result.changed) = (node.accessed, node.changed)
      return ObjectState(result, uid: node.uid, gid: node.gid)
    }
  }

  // MARK: Locks and attributes: no other program is there to lock

  func openToLock(_ file: StoreHandle, toWrite: Bool) throws(StoreFailure) -> StoreHandle {
    try object(of: file)
  }
  func lock(_ file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>?) {}
  func conflict(
    on file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>
  ) -> RangeLocks.Span? { nil }
  func attribute(
    _ name: [UInt8], of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [UInt8] {
    try with { state throws(StoreFailure) in
      let number = try state.node(object)
      try state.check(number, 4, as: who)
      guard let value = state.nodes[number]?.attributes[name] else { throw .refused(.noAttribute) }
      return value
    }
  }

  func attributeNames(
    of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [[UInt8]] {
    try with { state throws(StoreFailure) in
      let number = try state.node(object)
      return state.nodes[number].map { Array($0.attributes.keys) } ?? []
    }
  }

  func changeAttribute(
    _ name: [UInt8], of object: StoreHandle, _ change: ChangeAttribute.Change,
    as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      let number = try state.node(object)
      try state.check(number, 2, as: who)
      let isThere = state.nodes[number]?.attributes[name] != nil
      let value: [UInt8]?
      switch change {
      case .set(let new): value = new
      case .create(let new):
        guard !isThere else { throw .refused(.duplicateName) }
        value = new
      case .replace(let new):
        guard isThere else { throw .refused(.noAttribute) }
        value = new
      case .remove:
        guard isThere else { throw .refused(.noAttribute) }
        value = nil
      }
      state.nodes[number]?.attributes[name] = value
      state.touch(number)
    }
  }

  func checkAccess(
    _ object: StoreHandle, mask: UInt32, as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      try state.check(state.node(object), mask, as: who)
    }
  }

  func path(of file: StoreHandle) -> String? { nil }

  func readLink(_ object: StoreHandle) throws(StoreFailure) -> [UInt8] {
    try with { state throws(StoreFailure) in
      guard let node = state.nodes[try state.node(object)], node.kind == .symbolicLink else {
        throw .refused(.badArguments)
      }
      return node.data
    }
  }

  func room(at object: StoreHandle) throws(StoreFailure) -> QueryStore.Answer {
    QueryStore.Answer()
  }

  // MARK: Open files

  func open(
    _ object: StoreHandle, _ mode: OpenMode, as who: Credentials, mayRunUnread: Bool,
    _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    try with { state throws(StoreFailure) in
      let number = try state.node(object)
      let isRunUnread = mayRunUnread && mode.rights == OpenMode.execute.rights
      let reads = mode.contains(.execute) && !isRunUnread
      try state.check(number, mode.rights | (reads ? 4 : 0), as: who)
      if mode.contains(.truncate) {
        state.nodes[number]?.data = []
        state.touch(number)
      }
      return state.hold(number, mode)
    }
  }

  func create(
    _ name: [UInt8], in directory: StoreHandle, _ mode: OpenMode, permissions: UInt32,
    as who: Credentials
  ) throws(StoreFailure) -> StoreHandle {
    try with { state throws(StoreFailure) in
      let parent = try state.node(directory)
      try state.checkFree(name, in: parent, as: who)
      let number = state.make(.file, permissions: permissions, as: who)
      state.enter(name, number, in: parent)
      return state.hold(number, mode)
    }
  }

  func object(of file: StoreHandle) throws(StoreFailure) -> StoreHandle {
    try with { state throws(StoreFailure) in state.hold(try state.node(file), []) }
  }

  func read(
    _ file: StoreHandle, at position: UInt64, count: Int, _ patience: Patience
  ) throws(StoreFailure) -> [UInt8] {
    try with { state throws(StoreFailure) in
      guard let node = state.nodes[try state.node(file)] else { throw .refused(.deviceError) }
      guard position < UInt64(node.data.count) else { return [] }
      return Array(node.data[Int(position)...].prefix(count))
    }
  }

  func write(
    _ file: StoreHandle, _ data: [UInt8], at position: UInt64, _ mode: OpenMode,
    as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> Int {
    try with { state throws(StoreFailure) in
      let number = try state.node(file)
      guard var node = state.nodes[number] else { throw .refused(.deviceError) }
      let start = mode.contains(.append) ? node.data.count : Int(clamping: position)
      guard start <= Self.bytesMax - data.count else { throw .refused(.tooLarge) }
      let end = start + data.count
      if node.data.count < end {
        node.data.append(contentsOf: repeatElement(0, count: end - node.data.count))
      }
      node.data.replaceSubrange(start..<end, with: data)
      if !who.isRoot { node.permissions &= ~0o6000 }
      state.nodes[number] = node
      state.touch(number)
      return data.count
    }
  }

  func entries(
    of directory: StoreHandle, from position: UInt64
  ) throws(StoreFailure) -> [DirectoryEntry] {
    try with { state throws(StoreFailure) in
      let names = state.nodes[try state.node(directory)]?.names ?? [:]
      return names.filter { $0.value.position > position }
        .sorted { $0.value.position < $1.value.position }
        .prefix(Self.entriesMax)
        .map { name, place in
          DirectoryEntry(
            name: name, kind: state.nodes[place.node]?.kind ?? .file, inode: UInt64(place.node),
            nextPosition: place.position)
        }
    }
  }

  func synchronize(_ file: StoreHandle, isDataOnly: Bool) throws(StoreFailure) {}

  /// Small, so that a listing takes several steps.
  private static let entriesMax = 50
  /// The largest file.
  static let bytesMax = 1 << 26
}

// MARK: Changes

extension MemoryStore {
  func add(
    _ name: [UInt8], in directory: StoreHandle, _ object: NewObject, as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      let parent = try state.node(directory)
      try state.checkFree(name, in: parent, as: who)
      switch object {
      case .directory(let permissions):
        let number = state.make(.context, permissions: permissions, as: who)
        state.nodes[number]?.links = 2
        state.nodes[parent]?.links += 1
        state.enter(name, number, in: parent)
      case .symbolicLink(let target):
        let number = state.make(.symbolicLink, permissions: 0o777, as: who)
        state.nodes[number]?.data = target
        state.enter(name, number, in: parent)
      case .node(let kind, let permissions, let deviceNumber):
        let number = state.make(kind, permissions: permissions, as: who)
        state.nodes[number]?.deviceNumber = deviceNumber
        state.enter(name, number, in: parent)
      case .link(let source):
        let number = try state.node(source)
        guard state.nodes[number]?.kind != .context else { throw .refused(.notOwner) }
        guard state.nodes[number]?.links != 0 else { throw .refused(.notFound) }
        state.nodes[number]?.links += 1
        state.enter(name, number, in: parent)
      }
    }
  }

  func remove(
    _ name: [UInt8], in directory: StoreHandle, isDirectory: Bool, as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      let parent = try state.node(directory)
      let number = try state.child(name, of: parent, as: who)
      try state.check(parent, 2, as: who)
      try state.checkKind(number, isDirectory: isDirectory)
      try state.checkEmpty(number)
      state.leave(name, in: parent)
    }
  }

  func rename(
    _ oldName: [UInt8], in oldDirectory: StoreHandle, to newName: [UInt8],
    in newDirectory: StoreHandle, _ mode: RenameObject.Mode, as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      try state.rename(
        oldName, in: state.node(oldDirectory), to: newName, in: state.node(newDirectory), mode,
        as: who)
    }
  }

  func change(
    _ handle: StoreHandle, isOpenFile: Bool, _ change: Change, as who: Credentials
  ) throws(StoreFailure) {
    try with { state throws(StoreFailure) in
      let number = try state.node(handle)
      guard var node = state.nodes[number] else { throw .refused(.deviceError) }
      let isOwner = who.isRoot || who.uid == node.uid
      state.clock += 1
      if let size = change.size {
        guard node.kind != .context else { throw .refused(.isContext) }
        if !isOpenFile { try state.check(number, 2, as: who) }
        guard size <= Self.bytesMax else { throw .refused(.tooLarge) }
        let missing = max(0, Int(size) - node.data.count)
        node.data = Array(node.data.prefix(Int(size)) + repeatElement(0, count: missing))
        node.modified = state.clock
      }
      if change.uid != nil || change.gid != nil {
        guard who.isRoot || (isOwner && (change.uid ?? node.uid) == node.uid) else {
          throw .refused(.notOwner)
        }
        node.uid = change.uid ?? node.uid
        node.gid = change.gid ?? node.gid
      }
      if let permissions = change.permissions {
        guard node.kind != .symbolicLink else { throw .refused(.notSupported) }
        guard isOwner else { throw .refused(.notOwner) }
        node.permissions = permissions & 0o7777
      }
      if let accessed = change.accessed { node.accessed = accessed.value(state.clock) }
      if let modified = change.modified { node.modified = modified.value(state.clock) }
      node.changed = state.clock
      state.nodes[number] = node
    }
  }
}

extension Modification.Stamp {
  fileprivate func value(_ now: Int64) -> Int64 {
    if case .at(let nanoseconds) = self { nanoseconds } else { now }
  }
}
