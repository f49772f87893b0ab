internal import Synchronization
public import VProtocol
public import VRuntime

/// The program that makes a call, and that learns when a signal ends it.
public protocol Caller: AnyObject, Sendable {
  /// The user of the call.
  ///
  /// All managers but stores need to know whether root is root of the host or of a container.
  /// Finding out may take long, so it is done only for them.
  func user(asking isStore: Bool) -> ClientUser
  /// The call is about to wait: from now on a signal may call its `interrupt`.
  ///
  /// False if the program no longer wants an answer.
  func beginWaiting(_ call: Call) -> Bool
  /// A signal has ended the call; false if the program has its answer already.
  func giveUp() -> Bool
  /// Whether the program still wants an answer.
  var isWaiting: Bool { get }
  /// The Linux process that calls, if that decides on the priority of the call; else 0.
  var process: Int32 { get }
}

extension Caller {
  public var process: Int32 { 0 }
}

/// One call of a program on a client: the transactions that it waits for, and the way a signal ends
/// them.
public final class Call: Sendable {
  private struct State {
    var isGivenUp = false
    var isInterrupted = false
    var wait: Wait?
    /// Transactions that are abandoned together with the call.
    var transactions: [ClientPool.Transaction] = []
    /// The descriptor that came with the answer to an open.
    var passed: PassedDescriptor?
    /// The user of the call, once it is known.
    var user: ClientUser?
  }

  /// An operation that waits at its manager for people or other programs.
  private struct Wait {
    /// An entity that sends nothing else while the wait may still be cancelled.
    let client: EntityID
    let manager: EntityID
    let user: ClientUser
    var mustEnd = false
  }

  let client: Client
  private let caller: any Caller
  private let state = Mutex(State())

  /// How long the answer may still come before a signal ends the call; more would be felt at a
  /// terminal.
  static let interruptGrace = TimeSpan.milliseconds(200)
  /// A manager that does not answer is silent after 2 s, so a wait has ended by then.
  static let waitGrace = TimeSpan.seconds(3)
  private static let cancelInterval = TimeSpan.milliseconds(50)

  public init(_ client: Client, by caller: any Caller) {
    self.client = client
    self.caller = caller
  }

  /// The user of the call as a principal of this host: the same one for the whole call.
  var user: ClientUser { user(asking: .none) }

  private func user(asking manager: EntityID) -> ClientUser {
    if let known = state.withLock({ $0.user }) { return known }
    var asked = caller.user(asking: client.isStore(manager))
    if caller.process > 0 { asked.priority = client.priority(caller.process) }
    return state.withLock { [asked] state in
      let user = state.user ?? asked
      state.user = user
      return user
    }
  }

  /// Whether its answer is still wanted.
  var isOpen: Bool { caller.isWaiting }

  /// The descriptor that came with the answer to an open; the first caller gets it.
  func takePassed() -> PassedDescriptor? { state.withLock { $0.passed.take() } }

  // MARK: What it waits for

  /// Sends an operation for this call, as the user who made it unless another is named.
  ///
  /// An answer that comes after the call was given up is dropped, unless the operation `mustEnd`
  /// because its effect must be undone then. An operation that may wait for others has `undo`: a
  /// signal asks its manager to end the wait, and its answer is delivered in any case. `undo` is
  /// called if the manager fell silent and turns out to have done the operation. An operation that
  /// also `mustEnd` gives the program its own result, before the signal takes effect.
  func send<Op: Operation>(
    _ operation: Op, to manager: EntityID, as user: ClientUser? = nil, mustEnd: Bool = false,
    undo: (@Sendable () -> Void)? = nil,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard caller.beginWaiting(self) else { return }
    let user = user ?? self.user(asking: manager)
    if let undo {
      let wait = Wait(
        client: client.clients.take(user), manager: manager, user: user, mustEnd: mustEnd)
      return sendAlone(operation, wait, undo, then)
    }
    let transaction = client.clients.send(
      operation, as: user, to: manager,
      takeDescriptor: { [self] descriptor in state.withLock { $0.passed = descriptor } },
      completion: then)
    if mustEnd { return }
    let isGivenUp = state.withLock { state in
      if !state.isGivenUp { state.transactions.append(transaction) }
      return state.isGivenUp
    }
    if isGivenUp { client.clients.abandon(transaction) }
  }

  private func sendAlone<Op: Operation>(
    _ operation: Op, _ wait: Wait, _ undo: @escaping @Sendable () -> Void,
    _ then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let isInterrupted = state.withLock { state in
      state.wait = wait
      return state.isInterrupted
    }
    client.backplane.send(operation, from: wait.client, to: wait.manager) { [self] answer in
      var isNamed = state.withLock { state in
        defer { state.wait = nil }
        return state.isInterrupted
      }
      if case .refused(.retransmissionTimeout) = answer {
        isNamed = true
        client.withdraw(wait.client, at: wait.manager, as: wait.user, undo)
      }
      // A CancelWait for it may arrive late.
      client.clients.give(wait.client, of: wait.user, isUseless: isNamed)
      then(answer)
    }
    if isInterrupted { cancelWait() }
  }

  /// Cancels the wait until it has ended: the operation may not have arrived yet.
  private func cancelWait() {
    guard let wait = state.withLock({ $0.wait }) else { return }
    client.clients.send(CancelWait(wait.client), as: wait.user, to: wait.manager) {
      [self] answer in
      guard case .refused = answer else { return }
      client.backplane.after(Self.cancelInterval) { [self] in cancelWait() }
    }
  }

  /// Sends an operation in which no known object is named, to a server that is known.
  public func send<Op: Operation>(
    _ operation: Op, to server: EntityID, then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    send(operation, to: server, as: nil, then: then)
  }

  // MARK: Signals

  /// The call waits for something on this host; a signal does not cancel that, but need not wait
  /// for it.
  public func noteWait() { _ = caller.beginWaiting(self) }

  /// A signal has come for the program of this call.
  public func interrupt() {
    let mustEnd = state.withLock { state in
      state.isInterrupted = true
      return state.wait?.mustEnd == true
    }
    cancelWait()
    client.backplane.after(mustEnd ? Self.waitGrace : Self.interruptGrace) { [self] in giveUp() }
  }

  /// The time that the program has for this call is over.
  func timeOut() {
    state.withLock { $0.isInterrupted = true }
    cancelWait()
    giveUp()
  }

  /// Ends the call in the place of whatever it still waits for.
  private func giveUp() {
    guard caller.giveUp() else { return }
    let transactions = state.withLock { state in
      state.isGivenUp = true
      defer { state.transactions = [] }
      return state.transactions
    }
    for transaction in transactions { client.clients.abandon(transaction) }
  }
}
