import Synchronization
import VProtocol
import VStore

/// An open file or directory.
final class Instance: Sendable {
  /// The object opened, for descriptions with its context.
  let object: HeldObject
  let file: HeldObject
  let mode: OpenMode
  /// The process whose death frees it.
  let owner: EntityID
  /// The host it was opened from: no other may use it. (Another user there may: a file descriptor
  /// is inherited and passed on.)
  let host: String?
  let identity: Descriptor.Identity
  /// Locks were set or asked for through it.
  let hadLocks = Atomic(false)
  /// One reader of a directory at a time: its position is the descriptor's.
  let directoryLock = Mutex<Void>(())

  init(
    _ file: HeldObject, of object: HeldObject, identity: Descriptor.Identity, mode: OpenMode,
    owner: EntityID, host: String?
  ) {
    self.file = file
    self.object = object
    self.identity = identity
    self.mode = mode
    self.owner = owner
    self.host = host
  }

  var attributes: UIOAttributes {
    if mode.contains(.directory) { return [.readable, .variableBlock, .multiBlock] }
    var attributes: UIOAttributes = [.storage, .randomAccess, .multiBlock]
    if isReadable { attributes.insert(.readable) }
    if mode.contains(.write) { attributes.insert(.writeable) }
    if mode.contains(.append) { attributes.insert(.appendOnly) }
    return attributes
  }

  var isReadable: Bool { !mode.isDisjoint(with: [.read, .execute]) }
}

/// The instances of a server: a bounded table.
package final class Instances: Sendable {
  private struct State {
    var instances: [InstanceID: Instance] = [:]
    /// How many each host has.
    var shares: [String: Int] = [:]
    /// Places promised to openings at work.
    var reserved = 0
    var identifiers: PermutedCounter

    mutating func remove(_ identifier: InstanceID) -> Instance? {
      guard let instance = instances.removeValue(forKey: identifier) else { return nil }
      let host = instance.host ?? ""
      shares[host, default: 1] -= 1
      if shares[host] == 0 { shares[host] = nil }
      return instance
    }
  }

  private let capacity: Int
  private let state: Mutex<State>

  init(capacity: Int = Instances.capacityMax, key: UInt64) {
    self.capacity = capacity
    state = Mutex(State(identifiers: PermutedCounter(key: key)))
  }

  subscript(identifier: InstanceID) -> Instance? { state.withLock { $0.instances[identifier] } }

  /// Enters what `open` makes, for which a place is kept first: nothing is created in vain.
  ///
  /// One host has at most half of the places: the others, and this one, go on.
  func admit<Answer>(
    of host: String, _ open: () throws(StoreFailure) -> (Instance, Answer)
  ) throws(StoreFailure) -> (InstanceID, Answer) {
    let hasPlace = state.withLock { state in
      guard state.instances.count + state.reserved < capacity,
        state.shares[host, default: 0] < capacity / 2
      else { return false }
      state.reserved += 1
      return true
    }
    guard hasPlace else { throw .refused(.noServerResources) }
    do throws(StoreFailure) {
      let (instance, answer) = try open()
      return (enter(instance), answer)
    } catch {
      state.withLock { $0.reserved -= 1 }
      throw error
    }
  }

  private func enter(_ instance: Instance) -> InstanceID {
    state.withLock { state in
      state.reserved -= 1
      var identifier: InstanceID
      repeat {
        identifier = InstanceID(rawValue: UInt64(state.identifiers.next()))
      } while state.instances[identifier] != nil
      state.instances[identifier] = instance
      state.shares[instance.host ?? "", default: 0] += 1
      return identifier
    }
  }

  /// Takes an instance out; it is closed when the last operation on it has ended.
  func remove(_ identifier: InstanceID) -> Instance? {
    state.withLock { $0.remove(identifier) }
  }

  /// The processes that instances belong to.
  func owners() -> Set<EntityID> { state.withLock { Set($0.instances.values.map(\.owner)) } }

  /// Takes out what belongs to `owner`.
  func removeAll(of owner: EntityID) {
    let removed = state.withLock { state in
      let removed = state.instances.filter { $0.value.owner == owner }
      for identifier in removed.keys { _ = state.remove(identifier) }
      return removed
    }
    // Closed here, outside the lock.
    withExtendedLifetime(removed) {}
  }

  /// In the order of their numbers.
  var all: [(InstanceID, Instance)] {
    state.withLock { state in
      state.instances.sorted { $0.key.rawValue < $1.key.rawValue }.map { ($0.key, $0.value) }
    }
  }

  var count: Int { state.withLock { $0.instances.count } }

  /// The objects that are open.
  func openKeys() -> Set<Contexts.Key> {
    let open = state.withLock { Array($0.instances.values) }
    return Set(open.map { Contexts.Key(export: $0.file.export, identity: $0.identity) })
  }

  /// Each holds a descriptor: many times what a busy host has open.
  package static let capacityMax = 8192
}
