public import Synchronization
public import VProtocol
public import VRuntime

/// The instances of a manager: a bounded table of which every principal has a share.
///
/// Managers use it at each request: `@inlinable` lets each of them have it made for its own types.
public final class InstanceTable<Content: Sendable>: Sendable {
  @usableFromInline
  struct State: Sendable {
    @usableFromInline var instances: [InstanceID: Instance<Content>] = [:]
    /// Places promised to openings at work are in it too.
    @usableFromInline var shares: Shares
    @usableFromInline var owners: [EntityID: Set<InstanceID>] = [:]
    @usableFromInline var principals: [Principal: Set<InstanceID>] = [:]

    @inlinable init(shares: Shares) { self.shares = shares }

    @inlinable
    mutating func remove(_ id: InstanceID) -> Instance<Content>? {
      guard let instance = instances.removeValue(forKey: id) else { return nil }
      let principal = instance.caller.principal
      shares.give(principal)
      principals[principal]?.remove(id)
      if principals[principal]?.isEmpty == true { principals[principal] = nil }
      forget(id, of: instance.owner)
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

  /// Keeps a place for what is about to be opened, so that nothing is made in vain.
  ///
  /// `enter` uses it, or `cancel` gives it back.
  @inlinable
  public func reserve(for caller: Caller) throws(Refusal) {
    guard state.withLock({ $0.shares.take(caller.principal) }) else {
      throw Refusal(
        .noServerResources, "\(caller.principal) has too many objects of \(backplane.host) open")
    }
  }

  /// Gives a kept place back.
  @inlinable
  public func cancel(for caller: Caller) {
    state.withLock { $0.shares.give(caller.principal) }
  }

  /// Puts what was opened in the place that was kept for it.
  ///
  /// Its number is one that nobody can guess.
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
      let instance = Instance(id, content, mode: mode, caller, owner: owner, openedAt: now)
      state.instances[id] = instance
      state.owners[owner, default: []].insert(id)
      state.principals[caller.principal, default: []].insert(id)
      return instance
    }
  }

  /// The instance for whom it belongs to: no other principal may do anything with it.
  @inlinable
  public func find(_ id: InstanceID, for principal: Principal) throws(Refusal) -> Instance<Content>
  {
    guard let instance = self[id] else { throw Refusal(.invalidFileID) }
    guard instance.caller.principal == principal else { throw Refusal(.noPermission) }
    return instance
  }

  /// The instance, whoever asks: for managers that have asked already.
  @inlinable
  public subscript(id: InstanceID) -> Instance<Content>? { state.withLock { $0.instances[id] } }

  /// Takes an instance out; nil where another has.
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

  /// The processes that instances belong to.
  @inlinable
  var owners: Set<EntityID> { state.withLock { Set($0.owners.keys) } }

  /// Takes out what belongs to `owner`.
  @inlinable
  func removeAll(of owner: EntityID) -> [Instance<Content>] {
    state.withLock { state in
      (state.owners[owner] ?? []).compactMap { state.remove($0) }
    }
  }

  /// What `principal` opened last of what `predicate` says; looks at all that it has open.
  @inlinable
  public func newest(
    openedBy principal: Principal, where predicate: (Content) -> Bool
  ) -> Instance<Content>? {
    let own = state.withLock { state in
      (state.principals[principal] ?? []).compactMap { state.instances[$0] }
    }
    return own.filter { predicate($0.content) }.max { $0.openedAt < $1.openedAt }
  }

  /// In the order of opening.
  @inlinable
  public var all: [Instance<Content>] {
    state.withLock { Array($0.instances.values) }
      .sorted { ($0.openedAt, $0.id.rawValue) < ($1.openedAt, $1.id.rawValue) }
  }

  package var count: Int { state.withLock { $0.instances.count } }
}

/// The bounds of what managers keep for clients, shared as `Shares` says.
public enum InstanceLimits {
  /// Open objects of one manager: one user's share is what a program of Linux has open by default,
  /// four times.
  public static let instancesMax = 16_384
  /// Requests of one manager that wait: each holds its message, and a record of its client.
  public static let waitsMax = 8192
  /// Contexts of one manager beside its roots; who held a dropped one binds anew by name.
  public static let contextsMax = 8192
}
