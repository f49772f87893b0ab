internal import Synchronization
public import VProtocol
public import VRuntime

/// Serves a prefix before its server is started: the first request starts the server, and is
/// forwarded to it.
///
/// ```
///   waiting --first request--> starting ---the server has claimed--> standing back
///      ^                           |                                      |
///      +------ `serve` ------------+---------- the server has ended ------+
/// ```
/// The stand-in's claim yields, so the server claims the prefix as every server does. Requests that
/// still come to the stand-in, from clients that have not heard of that, are forwarded too.
public final class StandIn: Sendable {
  private enum Phase { case waiting, starting, back }

  private struct State: Sendable {
    var phase = Phase.waiting
    /// The manager of the prefix while no server is started.
    var holder = EntityID.none
    /// Requests that came before there was a server.
    var kept: [Request] = []
    var shares: Shares
    /// Counts the starts, so that a late event of an earlier one is recognised.
    var start = 0
  }

  private let backplane: any Backplane
  private let prefix: [UInt8]
  private let directory: EntityID
  private let begin: @Sendable () -> Void
  private let clients: ClientPool
  private let state: Mutex<State>

  /// Requests that wait for a server that starts; each may have a full segment.
  private static let keptMax = 256
  /// The time in which a server must claim its prefix.
  public static let startLimit = TimeSpan.seconds(10)
  private static let lookInterval = TimeSpan.milliseconds(20)

  /// `begin` starts the server; it is called on a thread of the backplane and must not block.
  public init(
    _ backplane: any Backplane, prefix: [UInt8], directory: EntityID,
    begin: @escaping @Sendable () -> Void
  ) {
    self.backplane = backplane
    self.prefix = prefix
    self.directory = directory
    self.begin = begin
    clients = ClientPool(backplane, of: .standIn)
    state = Mutex(State(shares: Shares(capacity: Self.keptMax, ownHost: backplane.host)))
  }

  /// Claims the prefix, at first and whenever the server has ended; `told` gets the answer of the
  /// directory.
  ///
  /// Requests that still wait for the server that ended are refused.
  public func serve(told: @escaping @Sendable (ReplyCode) -> Void) {
    refuseKept("it ended before it served its prefix")
    let known = state.withLock { $0.holder }
    let holder =
      known != .none
      ? known
      : backplane.makeServer(knowsPrincipals: true) { [weak self] in self?.handle($0) }
    state.withLock { $0.holder = holder }
    clients.send(
      ClaimName(prefix: prefix, context: Self.context, manager: holder, yields: true), as: "root",
      to: directory, at: .directory
    ) { answer in
      if case .refused(let refusal) = answer { told(refusal.code) } else { told(.ok) }
    }
  }

  /// Gives up the prefix; waiting requests are refused.
  public func end() {
    refuseKept("it is not started any more")
    let holder = state.withLock { state in
      defer { state.holder = .none }
      return state.holder
    }
    if holder != .none { backplane.retire(holder) }
  }

  /// The prefix itself; there are no others before the server runs.
  private static let context = ContextID(rawValue: 1)
}

// MARK: - Requests

extension StandIn {
  private func handle(_ request: Request) {
    guard (try? ContextName(parsing: request.message))?.context == Self.context else {
      // Contexts and instances of the server ended with it.
      return backplane.refuse(.invalidContext, request)
    }
    let (next, start) = state.withLock { state -> (Next, Int) in
      if state.phase == .back { return (.handOn, 0) }
      guard state.shares.take(request.principal) else { return (.refuse, 0) }
      state.kept.append(request)
      guard state.phase == .waiting else { return (.wait, 0) }
      state.phase = .starting
      state.start += 1
      return (.begin, state.start)
    }
    switch next {
    case .handOn: handOn(request)
    case .refuse: backplane.refuse(.busy, request)
    case .wait: break
    case .begin:
      begin()
      look(for: start, until: backplane.now + Self.startLimit)
    }
  }

  private enum Next { case handOn, refuse, wait, begin }

  /// Looks regularly which manager has the prefix.
  private func look(for start: Int, until limit: Time) {
    let (isStarting, holder) = state.withLock { state in
      (state.phase == .starting && state.start == start, state.holder)
    }
    guard isStarting else { return }
    clients.send(
      QueryName(ContextName(.none, prefix)), as: "root", to: directory, at: .directory
    ) { [self] answer in
      if case .done(let found, _) = answer, found.manager != holder, found.kind == .context,
        found.prefixBytes == prefix.count
      {
        for request in takeKept(then: .back) { handOn(request) }
        return
      }
      guard backplane.now < limit else {
        // The server may be slow: the next use looks for it again, and starts nothing while it
        // runs.
        return refuseKept("it did not claim its prefix in time")
      }
      backplane.after(Self.lookInterval) { [self] in look(for: start, until: limit) }
    }
  }

  /// Sends a request back to the directory, which forwards it to the server.
  private func handOn(_ request: Request) {
    guard let name = try? ContextName(parsing: request.message) else { return }
    let rest = name.rest.isEmpty ? [] : [UInt8(ascii: "/")] + name.rest
    let whole = ContextName(.none, prefix + rest)
    guard whole.name.count <= ContextName.nameBytesMax else {
      return backplane.refuse(.nameTooLong, request)
    }
    backplane.forward(request, whole.renaming(request.message), to: directory)
  }

  private func refuseKept(_ why: String) {
    let kept = takeKept(then: .waiting)
    let refusal = Refusal(
      .retransmissionTimeout, "the server of \(String(decoding: prefix, as: UTF8.self)): \(why)")
    for request in kept { backplane.reply(refusal.message, to: request) }
  }

  /// Takes the kept requests and changes the phase in one step: a request in between would be kept
  /// and never answered.
  private func takeKept(then phase: Phase) -> [Request] {
    state.withLock { state in
      state.phase = phase
      for request in state.kept { state.shares.give(request.principal) }
      defer { state.kept = [] }
      return state.kept
    }
  }
}
