public import VProtocol
import VTransport

/// Finding entities that are not on the kernel of their id.
///
/// The kernel that was asked for an entity is believed about where it went. Where that one is
/// silent or has ended, all kernels are asked, and the one that has the entity is believed.
extension Kernel {
  /// The kernel on which an entity is, as far as this one knows.
  public func kernel(of entity: EntityID) -> KernelID { whereabouts.kernel(of: entity) }

  /// Whether an entity is on this kernel, and lives.
  func isHere(_ entity: EntityID) -> Bool { entities[entity] != nil }

  /// Whether it may move; the manager and the well-known servers of a kernel are part of it.
  static func isMovable(_ entity: EntityID) -> Bool {
    !entity.isGroup && !entity.isNested && entity.discriminator >= EntityNumbers.first
  }

  // MARK: what others say

  /// The kernel that had an entity says where it went.
  mutating func handleMoved(_ moved: ProbeEntity.Moved, from peer: KernelID, _ step: inout Step) {
    guard kernel(of: moved.entity) == peer, moved.kernel != peer else { return }
    let principal = Principal(moved.principal)
    // A kernel is believed about the users of its own host, or about whom it was told itself.
    let known = whereabouts.principal(of: moved.entity)
    let isBelieved = principal?.host == peers[peer]?.host
    learn(moved.entity, on: moved.kernel, isBelieved ? principal : known)
  }

  /// The kernel that was asked for a server says that it is on another one.
  mutating func handleMigrated(
    _ client: EntityID, _ server: EntityID, from peer: KernelID, to kernel: KernelID,
    _ step: inout Step
  ) {
    handleMoved(ProbeEntity.Moved(server, to: kernel), from: peer, &step)
    let known = self.kernel(of: server)
    redirect(client, to: known == peer ? kernel : known, isVouched: true, &step)
  }

  private mutating func learn(
    _ entity: EntityID, on kernel: KernelID, _ principal: Principal?
  ) {
    guard kernel != id else { return }
    let kept = records[RecordKey(client: entity, member: .none)]?.principal
    whereabouts.learn(entity, on: kernel, principal ?? kept)
    peers[kernel]?.questions[entity] = nil
  }

  /// A kernel answers for an entity that it is not known to have: believed only where the other one
  /// does not answer, and all were asked.
  mutating func handleFound(
    _ state: ProbeEntity.EntityState, on peer: KernelID, _ transaction: TransactionID,
    _ step: inout Step
  ) {
    let known = kernel(of: state.entity)
    guard known != peer, known != id, isSilentNow(known, at: step.now),
      sought.contains(where: { $0.transaction == transaction && $0.entity == state.entity })
    else { return }
    learn(state.entity, on: peer, nil)
    redirectAll(for: state.entity, from: known, to: peer, isVouched: false, &step)
  }

  /// Whether a kernel has ended, does not answer, or has never been heard.
  private func isSilentNow(_ kernel: KernelID, at now: Time) -> Bool {
    guard !dead.contains(kernel), let peer = peers[kernel], peer.locator != nil else {
      return true
    }
    return peer.isSilent || peer.owesAnswer(for: Timing.search, at: now, woken: wokeAt)
  }

  /// What a kernel says about an entity that has moved to it: its principal is the one that it had,
  /// or a user of that kernel's host.
  func movedState(
    _ state: ProbeEntity.EntityState, from peer: KernelID
  ) -> ProbeEntity.EntityState? {
    var state = state
    state.marks = []
    if let known = whereabouts.principal(of: state.entity) {
      state.principal = known.description
      return state
    }
    guard let host = peers[peer]?.host else { return nil }
    if let user = state.client?.user {
      state.principal = Principal(user: user, host: host).description
    }
    return state
  }

  // MARK: asking

  /// Asks all kernels for the one that has an entity.
  mutating func seek(_ entity: EntityID, _ step: inout Step) {
    let transaction = randomTransaction()
    if Self.isMovable(entity) {
      if sought.count == Limits.sought { sought.removeFirst() }
      sought.append((transaction, entity))
    }
    counters.multicastsSent += 1
    sendProbe(of: entity, transaction, to: .group(.managerGroup), &step)
  }

  /// Whether a client is on the kernel that its request came from; if that is news, the kernel
  /// where it was is asked.
  ///
  /// If that one does not answer, the client is where it says.
  mutating func isConfirmed(_ client: EntityID, on peer: KernelID, _ step: inout Step) -> Bool {
    let known = kernel(of: client)
    if known == peer { return true }
    guard known != id, Self.isMovable(client) else { return false }
    if isSilentNow(known, at: step.now), peers[known]?.locator != nil || dead.contains(known) {
      learn(client, on: peer, nil)
      return true
    }
    let now = step.now
    let question = withPeer(peer, at: now) { $0.ask(client, at: now) }
    guard let question, question.lastAt == now else { return false }
    if question.firstAt + Timing.silence <= now, question.count > Doubt.probesMax,
      peers[known].map({ $0.answeredAt + Timing.silence <= now }) ?? true
    {
      learn(client, on: peer, nil)
      return true
    }
    if let locator = peers[known]?.locator {
      sendProbe(of: client, randomTransaction(), to: .peer(known, locator), &step)
    } else {
      locate(client, &step)
    }
    return false
  }

  // MARK: a server is elsewhere

  /// Sends the requests that wait at another kernel for an entity to the one where that is.
  mutating func redirectAll(
    for server: EntityID, from old: KernelID, to kernel: KernelID, isVouched: Bool,
    _ step: inout Step
  ) {
    for entry in peers[old]?.waiting.entries ?? [] where isPending(entry, on: old) {
      guard entities[entry.client]?.current?.holder == server else { continue }
      redirect(entry.client, to: kernel, isVouched: isVouched, &step)
    }
  }

  /// Sends the request of a waiting client to the kernel where its server is.
  mutating func redirect(
    _ client: EntityID, to kernel: KernelID, isVouched: Bool, _ step: inout Step
  ) {
    guard let current = entities[client]?.current else { return }
    endPending(current)
    // The kernel that was asked may know more of the request than this one.
    let isHeldBack =
      isVouched && frozen[current.holder] != nil && kernel == self.kernel(of: current.holder)
    let isLocal = kernel == id || isHeldBack
    let route: ClientTransaction.Route = isLocal ? .local : .peer(kernel)
    let action = entities[client]!.current!.redirect(
      to: route, holder: current.holder, isVouched: isVouched, at: step.now,
      roundTrip: roundTrip(by: route))
    if isLocal { return deliverHere(of: client, isVouched: isVouched, &step) }
    addPending(client, current.id, on: kernel, at: step.now)
    if let code = refusal(of: current.holder, by: route, &step) {
      return finish(client, isVouched ? code : .outcomeUnknown, &step)
    }
    perform(action, of: client, &step)
  }

  /// The server has come to this kernel, without the request.
  mutating func deliverHere(of client: EntityID, isVouched: Bool, _ step: inout Step) {
    guard let current = entities[client]?.current else { return }
    if frozen[current.holder] != nil {
      noteWaiting(client, current.id, for: current.holder)
      frozen[current.holder]!.undelivered.append(
        Undelivered(client: client, transaction: current.id, isVouched: isVouched))
      return armClient(client)
    }
    guard isVouched, serves(current.holder) else {
      return finish(client, isVouched ? .nonexistentEntity : .outcomeUnknown, &step)
    }
    noteWaiting(client, current.id, for: current.holder)
    deliverLocally(
      current.request, from: client, current.id, to: current.holder, current.holder,
      forwardCount: current.forwardCount, &step)
    armClient(client)
  }

  /// A request came for an entity that has left this kernel, or is leaving it.
  ///
  /// What this kernel says about it holds: a request that it has no record of, and that may have
  /// been sent to it before, has an unknown outcome.
  mutating func answerForDeparted(
    _ header: PacketHeader, from peer: KernelID, _ step: inout Step
  ) {
    guard !header.packetFlags.contains(.multicast), !header.mcb.flags.contains(.datagram)
    else { return }
    let known = records[RecordKey(client: header.client, member: .none)]?.id
    if let known, known.isNewer(than: header.transaction) { return }
    var code = ReplyCode.outcomeUnknown
    if frozen[header.server] != nil {
      code = .busy
    } else if header.retransmitCount == 0 || header.forwardCount > 0 || known != nil {
      code = .entityMigrated
    }
    let place = code == .entityMigrated ? kernel(of: header.server) : nil
    notifyClient(of: header, code, movedTo: place, to: peer, &step)
  }
}
