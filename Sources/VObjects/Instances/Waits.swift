import Synchronization
public import VProtocol
import VRuntime

/// The requests of a manager that wait for others: each principal has a share of them.
///
/// A client entity has one transaction at a time, and so at most one wait.
public final class Waits: Sendable {
  private struct Wait: Sendable {
    var transaction: TransactionID
    var caller: Caller
    var instance: InstanceID?
    var cancel: @Sendable (ReplyCode) -> Void
  }

  private struct State: Sendable {
    var waits: [EntityID: Wait] = [:]
    var shares: Shares

    mutating func remove(_ client: EntityID) -> Wait? {
      guard let wait = waits.removeValue(forKey: client) else { return nil }
      shares.give(wait.caller.principal)
      return wait
    }
  }

  private let state: Mutex<State>

  init(_ backplane: any Backplane, capacity: Int = InstanceLimits.waitsMax) {
    state = Mutex(State(shares: Shares(capacity: capacity, ownHost: backplane.host)))
  }

  /// Keeps a request that is not answered yet; `cancel` is called, once and outside every lock, if
  /// somebody ends the wait, and answers it with the code.
  ///
  /// An earlier wait of the same client is over: its client no longer waits for that.
  public func add(
    _ request: Request, _ caller: Caller, in instance: InstanceID? = nil,
    cancel: @escaping @Sendable (ReplyCode) -> Void
  ) throws(Refusal) {
    let (hasRoom, stale) = state.withLock { state -> (Bool, Wait?) in
      let stale = state.remove(request.client)
      guard state.shares.take(caller.principal) else { return (false, stale) }
      state.waits[request.client] = Wait(
        transaction: request.transaction, caller: caller, instance: instance, cancel: cancel)
      return (true, stale)
    }
    stale?.cancel(.interrupted)
    guard hasRoom else {
      throw Refusal(.noServerResources, "\(caller.principal) waits for too much here")
    }
  }

  /// The request is answered; false if its wait was ended by somebody.
  @discardableResult
  public func end(_ request: Request) -> Bool {
    state.withLock { state in
      guard state.waits[request.client]?.transaction == request.transaction else { return false }
      return state.remove(request.client) != nil
    }
  }

  /// Ends the wait of a client, for the principal whose request it is; false if there is none.
  func cancel(_ client: EntityID, by principal: Principal) -> Bool {
    let wait = state.withLock { state in
      state.waits[client]?.caller.principal == principal ? state.remove(client) : nil
    }
    wait?.cancel(.interrupted)
    return wait != nil
  }

  /// Ends all waits in an instance.
  func cancelAll(in instance: InstanceID) {
    let waits = state.withLock { state in
      let clients = state.waits.filter { $0.value.instance == instance }.keys
      return clients.compactMap { state.remove($0) }
    }
    for wait in waits { wait.cancel(.invalidFileID) }
  }

  /// Requests that have not been answered.
  public var count: Int { state.withLock { $0.waits.count } }
}
