import Synchronization
public import VProtocol
import VRuntime

/// The requests of a manager that wait: each principal has a share of them.
///
/// A client entity has one transaction at a time, and so at most one wait.
public final class Waits: Sendable {
  /// The event that ends a wait at the latest.
  enum End: Hashable, Sendable {
    case instance(InstanceID)
    /// The death of a process.
    case owner(EntityID)
  }

  private struct Wait: Sendable {
    var transaction: TransactionID
    var caller: Caller
    var end: End
    var cancel: @Sendable (ReplyCode) -> Void
  }

  private struct State: Sendable {
    var waits: [EntityID: Wait] = [:]
    /// The clients that wait, by the event that ends their waits, so that ending some looks at no
    /// others.
    var ends: [End: Set<EntityID>] = [:]
    var shares: Shares

    mutating func add(_ wait: Wait, of client: EntityID) {
      waits[client] = wait
      ends[wait.end, default: []].insert(client)
    }

    mutating func remove(_ client: EntityID) -> Wait? {
      guard let wait = waits.removeValue(forKey: client) else { return nil }
      shares.give(wait.caller.principal)
      ends[wait.end]?.remove(client)
      if ends[wait.end]?.isEmpty == true { ends[wait.end] = nil }
      return wait
    }
  }

  private let state: Mutex<State>
  private let host: String

  init(_ backplane: any Backplane, capacity: Int = InstanceLimits.waitsMax) {
    host = backplane.host
    state = Mutex(State(shares: Shares(capacity: capacity, ownHost: host)))
  }

  /// Keeps a request that is not answered yet.
  ///
  /// If the wait is ended from outside, `cancel` is called, once and outside every lock, and
  /// answers the request with the code.
  ///
  /// An earlier wait of the same client is dropped: the client no longer waits for it.
  func add(
    _ request: Request, _ caller: Caller, until end: End,
    cancel: @escaping @Sendable (ReplyCode) -> Void
  ) throws(Refusal) {
    let (hasRoom, stale) = state.withLock { state -> (Bool, Wait?) in
      let stale = state.remove(request.client)
      guard state.shares.take(caller.principal) else { return (false, stale) }
      state.add(
        Wait(transaction: request.transaction, caller: caller, end: end, cancel: cancel),
        of: request.client)
      return (true, stale)
    }
    stale?.cancel(.interrupted)
    guard hasRoom else {
      throw Refusal(
        .noServerResources, "\(caller.principal) has too many requests waiting at \(host)")
    }
  }

  /// Removes the wait of a request that is answered; false if its wait was ended before.
  @discardableResult
  public func end(_ request: Request) -> Bool {
    state.withLock { state in
      guard state.waits[request.client]?.transaction == request.transaction else { return false }
      return state.remove(request.client) != nil
    }
  }

  /// Ends the wait of a client, for the principal that sent the request; false if there is none.
  @usableFromInline
  func cancel(_ client: EntityID, by principal: Principal) -> Bool {
    let wait = state.withLock { state in
      state.waits[client]?.caller.principal == principal ? state.remove(client) : nil
    }
    wait?.cancel(.interrupted)
    return wait != nil
  }

  /// Ends all waits in an instance.
  @usableFromInline
  func cancelAll(in instance: InstanceID) { cancelAll(.instance(instance), .invalidFileID) }

  /// Ends the waits of a dead process that belong to no instance.
  func cancelAll(of owner: EntityID) { cancelAll(.owner(owner), .interrupted) }

  private func cancelAll(_ end: End, _ code: ReplyCode) {
    let waits = state.withLock { state in
      (state.ends[end] ?? []).compactMap { state.remove($0) }
    }
    for wait in waits { wait.cancel(code) }
  }

  /// The processes that own waits without an instance.
  var owners: Set<EntityID> {
    let ends = state.withLock { Array($0.ends.keys) }
    return Set(
      ends.compactMap { end in
        if case .owner(let owner) = end { owner } else { nil }
      })
  }

  /// Requests that are not answered yet.
  package var count: Int { state.withLock { $0.waits.count } }
}
