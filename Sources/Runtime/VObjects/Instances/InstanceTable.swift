public import Synchronization
public import VProtocol
public import VRuntime

/// The instances of a manager: a bounded table in which every principal has a share.
///
/// Managers use the table at each request: `@inlinable` lets each specialise it for its own types.
public final class InstanceTable<Content: Sendable>: Sendable {
  @usableFromInline
  struct State: Sendable {
    @usableFromInline var instances: [InstanceID: Instance<Content>] = [:]
    /// Reserved places count too.
    @usableFromInline var shares: Shares
    @usableFromInline var owners: [EntityID: Set<InstanceID>] = [:]
    @usableFromInline var principals: [Principal: Set<InstanceID>] = [:]
    /// Instances in the order of opening; of more than `endedMin`, half at most have ended.
    @usableFromInline var opened: [(order: UInt64, id: InstanceID)] = []
    @usableFromInline var openedCount: UInt64 = 0

    @inlinable init(shares: Shares) { self.shares = shares }

    @inlinable
    mutating func remove(_ id: InstanceID) -> Instance<Content>? {
      guard let instance = instances.removeValue(forKey: id) else { return nil }
      let principal = instance.caller.principal
      shares.give(principal)
      principals[principal]?.remove(id)
      if principals[principal]?.isEmpty == true { principals[principal] = nil }
      forget(id, of: instance.owner)
      if opened.count > InstanceLimits.endedMin, opened.count > 2 * instances.count {
        opened = opened.filter { instances[$0.id] != nil }
      }
      return instance
    }

    @inlinable
    mutating func forget(_ id: InstanceID, of owner: EntityID) {
      owners[owner]?.remove(id)
      if owners[owner]?.isEmpty == true { owners[owner] = nil }
    }
  }

  @usableFromInline let backplane: any Backplane
  @usableFromInline let state: Mutex<State>

  @inlinable
  public init(_ backplane: any Backplane, capacity: Int = InstanceLimits.instancesMax) {
    self.backplane = backplane
    state = Mutex(State(shares: Shares(capacity: capacity, ownHost: backplane.host)))
  }

  /// Reserves a place for an instance before its object is opened or made.
  ///
  /// `enter` uses it, or `cancel` gives it back.
  @inlinable
  public func reserve(for caller: Caller) throws(Refusal) {
    guard state.withLock({ $0.shares.take(caller.principal) }) else {
      throw Refusal(
        .noServerResources, "\(caller.principal) has too many objects of \(backplane.host) open")
    }
  }

  /// Gives back a reserved place.
  @inlinable
  public func cancel(for caller: Caller) {
    state.withLock { $0.shares.give(caller.principal) }
  }

  /// Puts an opened object in its reserved place.
  ///
  /// Its number cannot be guessed.
  @inlinable
  public func enter(
    _ content: Content, mode: OpenMode, _ caller: Caller, owner: EntityID
  ) -> Instance<Content> {
    let now = backplane.wallClock
    return state.withLock { state in
      var id: InstanceID
      repeat {
        id = InstanceID(rawValue: backplane.random())
      } while id.rawValue == 0 || state.instances[id] != nil
      state.openedCount += 1
      let order = state.openedCount
      let instance = Instance(
        id, content, mode: mode, caller, owner: owner, openedAt: now, order: order)
      state.instances[id] = instance
      state.opened.append((order, id))
      state.owners[owner, default: []].insert(id)
      state.principals[caller.principal, default: []].insert(id)
      return instance
    }
  }

  /// The instance, if it belongs to `principal`: no other principal may use it.
  @inlinable
  public func find(_ id: InstanceID, for principal: Principal) throws(Refusal) -> Instance<Content>
  {
    guard let instance = self[id] else { throw Refusal(.invalidFileID) }
    guard instance.caller.principal == principal else { throw Refusal(.noPermission) }
    return instance
  }

  /// The instance without a check of the principal: for managers that have checked it.
  @inlinable
  public subscript(id: InstanceID) -> Instance<Content>? { state.withLock { $0.instances[id] } }

  /// Removes an instance; nil if it was removed before.
  @inlinable
  func remove(_ id: InstanceID) -> Instance<Content>? { state.withLock { $0.remove(id) } }

  @inlinable
  func change(_ instance: Instance<Content>, to owner: EntityID) {
    state.withLock { state in
      guard state.instances[instance.id] != nil else { return }
      state.forget(instance.id, of: instance.owner)
      instance.give(to: owner)
      state.owners[owner, default: []].insert(instance.id)
    }
  }

  /// The owners of instances.
  @inlinable
  var owners: Set<EntityID> { state.withLock { Set($0.owners.keys) } }

  /// Removes all instances of `owner`.
  @inlinable
  func removeAll(of owner: EntityID) -> [Instance<Content>] {
    state.withLock { state in
      (state.owners[owner] ?? []).compactMap { state.remove($0) }
    }
  }

  /// The last instance that `principal` opened for which `predicate` holds; looks at all that it
  /// has open.
  @inlinable
  public func newest(
    openedBy principal: Principal, where predicate: (Content) -> Bool
  ) -> Instance<Content>? {
    let own = state.withLock { state in
      (state.principals[principal] ?? []).compactMap { state.instances[$0] }
    }
    return own.filter { predicate($0.content) }.max { $0.openedAt < $1.openedAt }
  }

  /// The next instances in the order of opening, as many as an answer can have lines.
  ///
  /// Ended ones between them are passed over: in all, no more than are open.
  func opened(after order: UInt64) -> [Instance<Content>] {
    state.withLock { state in
      var (low, high) = (0, state.opened.count)
      while low < high {
        let middle = (low + high) / 2
        if state.opened[middle].order <= order { low = middle + 1 } else { high = middle }
      }
      var found: [Instance<Content>] = []
      while low < state.opened.count, found.count < InstanceLimits.linesMax {
        if let instance = state.instances[state.opened[low].id] { found.append(instance) }
        low += 1
      }
      return found
    }
  }

  package var count: Int { state.withLock { $0.instances.count } }
}

/// The bounds of what managers keep for clients, shared by `Shares`.
public enum InstanceLimits {
  /// Open objects of one manager: one user's share is four times the default limit of open files of
  /// a Linux program.
  public static let instancesMax = 16_384
  /// Waiting requests of one manager: each keeps its message, and a record of its client.
  public static let waitsMax = 8192
  /// So few places are not worth a search for ended instances.
  @usableFromInline static let endedMin = 64
  /// Instances looked up for one answer to ListInstances.
  static let linesMax = 300
  /// Contexts of one manager beside its roots; a client whose context was dropped finds it by name.
  public static let contextsMax = 8192
}
