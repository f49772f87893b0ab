import Synchronization
import VProtocol

/// An open object of a tree.
final class TreeInstance: Sendable {
  enum Content: Sendable {
    case records([Descriptor])
    /// As it was when it was opened.
    case text([UInt8], changedAt: Int64, command: (@Sendable (String) -> ReplyCode)?)
    case device(Device)
  }

  let path: String
  let content: Content
  let mode: OpenMode
  /// The process whose death frees it.
  let owner: EntityID
  /// Who opened it: no other host may use it.
  let principal: Principal?
  /// Nanoseconds since 1970.
  let openedAt: Int64
  /// What a reader of the clock began to read.
  let line: Mutex<[UInt8]>

  init(
    _ path: String, _ content: Content, mode: OpenMode, owner: EntityID, principal: Principal?,
    openedAt: Int64
  ) {
    self.path = path
    self.content = content
    self.mode = mode
    self.owner = owner
    self.principal = principal
    self.openedAt = openedAt
    line = Mutex(Array(Device.clockLine(openedAt).utf8))
  }
}

/// The instances of a tree: a bounded table.
final class TreeInstances: Sendable {
  private struct State: Sendable {
    var instances: [InstanceID: TreeInstance] = [:]
    var last: UInt32 = 0
  }

  private let state = Mutex(State())

  /// More than the hosts of a cluster have open of such files.
  private static let instancesMax = 2048

  subscript(identifier: InstanceID) -> TreeInstance? {
    state.withLock { $0.instances[identifier] }
  }

  /// Nil where the table is full: for one host at half of it, so that the others go on.
  func add(_ instance: TreeInstance) -> InstanceID? {
    state.withLock { state in
      let host = instance.principal?.host
      guard state.instances.count < Self.instancesMax,
        state.instances.count < Self.instancesMax / 2
          || state.instances.values.count(where: { $0.principal?.host == host })
            < Self.instancesMax / 2
      else { return nil }
      repeat { state.last &+= 1 } while state.instances[InstanceID(rawValue: state.last)] != nil
      state.instances[InstanceID(rawValue: state.last)] = instance
      return InstanceID(rawValue: state.last)
    }
  }

  func remove(_ identifier: InstanceID) {
    state.withLock { _ = $0.instances.removeValue(forKey: identifier) }
  }

  /// The processes that instances belong to.
  var owners: Set<EntityID> { state.withLock { Set($0.instances.values.map(\.owner)) } }

  func removeAll(of owner: EntityID) {
    state.withLock { state in
      state.instances = state.instances.filter { $0.value.owner != owner }
    }
  }

  /// What `principal` opened last under a path.
  func newest(of path: String, openedBy principal: Principal?) -> TreeInstance? {
    state.withLock { state in
      state.instances.values.filter { $0.path == path && $0.principal == principal }
        .max { $0.openedAt < $1.openedAt }
    }
  }

  /// In the order of opening.
  var all: [(InstanceID, TreeInstance)] {
    state.withLock { state in
      state.instances.sorted { $0.value.openedAt < $1.value.openedAt }.map { ($0.key, $0.value) }
    }
  }
}

/// The contexts of a tree: a number for each name that was asked for.
///
/// Beyond the bound the oldest are dropped; who held them binds anew by name.
struct TreeContexts: Sendable {
  private var paths: [UInt32: String] = [1: ""]
  private var numbers: [String: UInt32] = ["": 1]
  private var oldest: UInt32 = 2
  private var last: UInt32 = 1

  /// The root's number is 1 and is never dropped.
  static let contextsMax: UInt32 = 4096

  mutating func context(of path: String) -> ContextID {
    if let number = numbers[path] { return ContextID(rawValue: number) }
    last += 1
    paths[last] = path
    numbers[path] = last
    if last - oldest >= Self.contextsMax {
      if let dropped = paths.removeValue(forKey: oldest) { numbers[dropped] = nil }
      oldest += 1
    }
    return ContextID(rawValue: last)
  }

  func path(of context: ContextID) -> String? {
    paths[context == .none ? 1 : context.rawValue]
  }
}

/// Since when each text is what it is, as far as somebody looked: programs that see a file's time
/// change take its octets for changed.
struct TextChanges: Sendable {
  private var known: [String: (hash: Int, time: Int64)] = [:]

  /// Beyond it all is forgotten.
  private static let textsMax = 4096

  mutating func time(of path: String, _ text: String, at now: Int64) -> Int64 {
    let hash = text.hashValue
    if let last = known[path], last.hash == hash { return last.time }
    if known.count >= Self.textsMax { known.removeAll() }
    known[path] = (hash, now)
    return now
  }
}
