import Synchronization
import VProtocol

/// An open object of a tree.
final class TreeInstance: Sendable {
  enum Content: Sendable {
    case records([Descriptor])
    /// As it was when it was opened.
    case text([UInt8], changedAt: Int64, TreeText)
    case session(any TreeSession)
  }

  let path: String
  let content: Content
  let mode: OpenMode
  /// The process whose death frees it.
  let owner: EntityID
  /// Who opened it: no other host may use it.
  let caller: TreeCaller
  /// Nanoseconds since 1970.
  let openedAt: Int64

  init(_ path: String, _ content: Content, _ opening: TreeOpening, openedAt: Int64) {
    self.path = path
    self.content = content
    mode = opening.mode
    owner = opening.owner
    caller = opening.caller
    self.openedAt = openedAt
  }
}

/// The instances of a tree and the calls that wait in them: bounded tables.
final class TreeInstances: Sendable {
  private struct Waiting: Sendable {
    var instance: InstanceID
    var call: TreeCall
  }

  private struct State: Sendable {
    var instances: [InstanceID: TreeInstance] = [:]
    var last: UInt64 = 0
    /// A client has one call at a time.
    var calls: [EntityID: Waiting] = [:]
  }

  private let state = Mutex(State())

  /// More than the hosts of a cluster have open of such files.
  private static let instancesMax = 4096

  subscript(identifier: InstanceID) -> TreeInstance? {
    state.withLock { $0.instances[identifier] }
  }

  /// Nil where the table is full: for one host at half of it, so that the others go on.
  func add(_ instance: TreeInstance) -> InstanceID? {
    state.withLock { state in
      let host = instance.caller.principal.host
      guard state.instances.count < Self.instancesMax,
        state.instances.count < Self.instancesMax / 2
          || state.instances.values.count(where: { $0.caller.principal.host == host })
            < Self.instancesMax / 2
      else { return nil }
      repeat { state.last &+= 1 } while state.instances[InstanceID(rawValue: state.last)] != nil
      state.instances[InstanceID(rawValue: state.last)] = instance
      return InstanceID(rawValue: state.last)
    }
  }

  /// Ends an instance: its calls are refused, its session is closed.
  func remove(_ identifier: InstanceID) {
    let (instance, calls) = state.withLock { state in
      let calls = state.calls.values.filter { $0.instance == identifier }.map(\.call)
      return (state.instances.removeValue(forKey: identifier), calls)
    }
    for call in calls { call.cancel(.invalidFileID) }
    if case .session(let session) = instance?.content { session.close() }
  }

  /// The processes that instances belong to.
  var owners: Set<EntityID> { state.withLock { Set($0.instances.values.map(\.owner)) } }

  func removeAll(of owner: EntityID) {
    let identifiers = state.withLock { state in
      state.instances.filter { $0.value.owner == owner }.map(\.key)
    }
    for identifier in identifiers { remove(identifier) }
  }

  /// What `principal` opened last under a path.
  func newest(of path: String, openedBy principal: Principal) -> TreeInstance? {
    state.withLock { state in
      state.instances.values.filter { $0.path == path && $0.caller.principal == principal }
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

// MARK: - Calls

extension TreeInstances {
  /// Keeps a call until it is answered; false where its instance has just ended.
  func add(_ call: TreeCall, in instance: InstanceID) -> Bool {
    state.withLock { state in
      guard state.instances[instance] != nil else { return false }
      state.calls[call.request.client] = Waiting(instance: instance, call: call)
      return true
    }
  }

  func remove(_ call: TreeCall) {
    state.withLock { state in
      guard state.calls[call.request.client]?.call === call else { return }
      state.calls[call.request.client] = nil
    }
  }

  /// The call of a client that still waits.
  func call(of client: EntityID) -> TreeCall? { state.withLock { $0.calls[client]?.call } }

  /// Calls that have not been answered.
  var waitCount: Int { state.withLock { $0.calls.count } }
}
