internal import Synchronization
public import VProtocol
public import VRuntime

/// Serves a prefix in the place of a server that is not started: the first request for it starts
/// the server, and goes on to it.
///
/// ```
///   waiting --first request--> starting --the prefix is another's--> standing back
///      ^                           |                                      |
///      +--- `serveAgain` ----------+---------- the server has ended ------+
/// ```
/// The server claims the prefix as every server does. Since the directory gives a prefix away only
/// when its holder is gone, the entity that holds it is retired first, and what came to it is kept
/// by another one.
public final class StandIn: Sendable {
  private struct State: Sendable {
    /// Whose prefix it is while nothing is started.
    var holder = EntityID.none
    /// To whom the holder hands on what comes, since it has to go before the server claims.
    var keeper = EntityID.none
    /// What came before there was a server.
    var kept: [Request] = []
    var shares: Shares
    var isStarting = false
    /// Goes up with every start, so that what belongs to an earlier one is known.
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
  /// A server that has not claimed its prefix within this is not waited for.
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
    clients = ClientPool(backplane)
    state = Mutex(State(shares: Shares(capacity: Self.keptMax, ownHost: backplane.host)))
  }

  /// Claims the prefix, at first and whenever the server has ended; `told` gets what the directory
  /// says.
  ///
  /// Requests that still wait for the server that ended are refused.
  public func serve(told: @escaping @Sendable (ReplyCode) -> Void) {
    refuseKept("it ended before it served its prefix")
    let keeper = backplane.makeServer(knowsPrincipals: true) { [weak self] in self?.keep($0) }
    let holder = backplane.makeServer(knowsPrincipals: true) { [weak self] request in
      self?.backplane.forward(request, request.message, to: keeper)
    }
    let earlier = state.withLock { state in
      defer { (state.holder, state.keeper) = (holder, keeper) }
      return state.keeper
    }
    if earlier != .none { backplane.retire(earlier) }
    clients.send(
      ClaimName(prefix: prefix, context: Self.context, manager: holder), as: "root", to: directory
    ) { answer in
      if case .refused(let code) = answer { told(code) } else { told(.ok) }
    }
  }

  /// Gives the prefix up; what waits is refused.
  public func end() {
    refuseKept("it is not started any more")
    let entities = state.withLock { state in
      defer { (state.holder, state.keeper) = (.none, .none) }
      return [state.holder, state.keeper]
    }
    for entity in entities where entity != .none { backplane.retire(entity) }
  }

  /// The prefix itself; there are no others before the server runs.
  private static let context = ContextID(rawValue: 1)
}

// MARK: - Requests

extension StandIn {
  /// A request came to the holder of the prefix, which handed it on to its keeper.
  private func keep(_ request: Request) {
    guard (try? ContextName(parsing: request.message))?.context == Self.context else {
      // What the server had granted is gone with it.
      return backplane.refuse(.invalidContext, request)
    }
    let (isKept, first) = state.withLock { state -> (Bool, (holder: EntityID, start: Int)?) in
      guard state.shares.take(request.principal) else { return (false, nil) }
      state.kept.append(request)
      guard !state.isStarting else { return (true, nil) }
      state.isStarting = true
      state.start += 1
      defer { state.holder = .none }
      return (true, (state.holder, state.start))
    }
    guard isKept else { return backplane.refuse(.busy, request) }
    guard let (holder, start) = first else { return }
    // Not while somebody still has it.
    backplane.retire(holder)
    begin()
    look(for: start, until: backplane.now + Self.startLimit, holder)
  }

  /// Looks now and then whose the prefix is.
  private func look(for start: Int, until limit: Time, _ holder: EntityID) {
    guard state.withLock({ $0.isStarting && $0.start == start }) else { return }
    clients.send(QueryName(ContextName(.none, prefix)), as: "root", to: directory) {
      [self] answer in
      if case .done(let found, _) = answer, found.manager != holder, found.kind == .context,
        found.prefixBytes == prefix.count
      {
        return handOn()
      }
      guard backplane.now < limit else { return refuseKept("it did not claim its prefix in time") }
      backplane.after(Self.lookInterval) { [self] in look(for: start, until: limit, holder) }
    }
  }

  /// Sends what was kept back to the directory, which hands it on to the server.
  private func handOn() {
    for request in takeKept() {
      guard let name = try? ContextName(parsing: request.message) else { continue }
      let rest = name.rest.isEmpty ? [] : [UInt8(ascii: "/")] + name.rest
      let whole = ContextName(.none, prefix + rest)
      guard whole.name.count <= ContextName.nameBytesMax else {
        backplane.refuse(.nameTooLong, request)
        continue
      }
      backplane.forward(request, whole.renaming(request.message), to: directory)
    }
  }

  private func refuseKept(_ why: String) {
    let kept = takeKept()
    let refusal = Refusal(
      .retransmissionTimeout, "the server of \(String(decoding: prefix, as: UTF8.self)): \(why)")
    for request in kept { backplane.reply(refusal.message, to: request) }
  }

  private func takeKept() -> [Request] {
    state.withLock { state in
      state.isStarting = false
      for request in state.kept { state.shares.give(request.principal) }
      defer { state.kept = [] }
      return state.kept
    }
  }
}
