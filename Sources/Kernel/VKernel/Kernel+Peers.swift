import VProtocol
import VTransport

/// The shares that other kernels have of this one's tables, and the succession of their boots.
///
/// Whether a peer is silent is decided by `Peer` and asked by `Kernel+Timers`.
extension Kernel {
  /// The record of a kernel, made if there is none; idle records make room for it.
  mutating func withPeer<R>(_ kernel: KernelID, at now: Time, _ body: (inout Peer) -> R) -> R {
    if peers.count >= peersMax && peers[kernel] == nil { dropIdlePeers() }
    if peers[kernel] == nil { peers[kernel] = Peer(at: now) }
    return body(&peers[kernel]!)
  }

  /// Makes room among the peers: first it drops those that were never heard, since anybody may ask
  /// for a kernel that never existed; then the half that was silent for longest.
  private mutating func dropIdlePeers() {
    let idle = peers.entries.filter { $0.value.isIdle }
    for (kernel, peer) in idle where peer.locator == nil { dropPeer(kernel) }
    if peers.count * 2 > Limits.peers {
      let known = idle.filter { $0.value.locator != nil }
        .sorted { $0.value.heardAt < $1.value.heardAt }
      for (kernel, _) in known.prefix((known.count + 1) / 2) { dropPeer(kernel) }
    }
    // Busy peers cannot be dropped: the next search is at twice as many.
    peersMax = max(Limits.peers, peers.count * 2)
  }

  private mutating func dropPeer(_ kernel: KernelID) {
    guard let locator = peers[kernel].take()?.locator else { return }
    for earlier in leave(locator, kernel) { dead.remove(earlier) }
    whereabouts.forgetAll(on: kernel)
  }

  /// A kernel is no longer at a locator; returns the earlier boots of its host.
  private mutating func leave(_ locator: Locator, _ kernel: KernelID) -> [KernelID] {
    guard places[locator]?.kernel == kernel else { return [] }
    return places.removeValue(forKey: locator)?.earlier ?? []
  }

  // MARK: where a kernel is

  /// A valid packet has come from a kernel.
  ///
  /// It shows that the kernel has sent it, not from where: anybody may send a copy. So a place that
  /// contradicts what is known is believed only once the kernel has answered from there.
  mutating func handleHeard(
    _ kernel: KernelID, _ header: PacketHeader, at locator: Locator, isSealed: Bool,
    _ step: inout Step
  ) {
    let (known, candidate, placedAt, isSilent) = withPeer(kernel, at: step.now) { peer in
      peer.handleHeard(from: locator, at: step.now)
      return (peer.locator, peer.candidate, peer.placedAt, peer.isSilent)
    }
    if isSilent { askForSign(of: kernel, &step) }
    guard known != locator else { return }
    let isAnswer = header.function == .response && header.client == manager
    let isAsked = candidate?.transaction == header.transaction && candidate?.locator == locator
    if isAnswer && isAsked || known == nil && places[locator] == nil {
      return settle(kernel, at: locator, isSealed: isSealed, &step)
    }
    // Hosts have several addresses, and a packet may leave with any.
    guard isAnswer || known == nil || placedAt + Timing.placed <= step.now else { return }
    guard peers[kernel]?.mayBeChallenged(at: step.now) ?? true else { return }
    challenge(kernel, at: locator, &step)
  }

  /// Records that a kernel is at a locator, and sends what waits for it there.
  private mutating func settle(
    _ kernel: KernelID, at locator: Locator, isSealed: Bool, _ step: inout Step
  ) {
    let earlier = peers[kernel]?.locator.map { leave($0, kernel) } ?? []
    peers[kernel]?.place(at: locator, step.now)
    dead.remove(kernel)
    // Clear packets prove nothing; they are for simulations.
    if isSealed, peers[kernel]?.host == nil {
      pushTimer(.peerName(kernel), at: step.now + Self.namePatience)
    }
    let old = places[locator]?.kernel
    places[locator, default: Place(kernel: kernel)].kernel = kernel
    if let old, old != kernel { handleReplaced(old, &step) }
    for boot in earlier { noteEarlier(boot, at: locator) }
    for entry in peers[kernel]?.waiting.entries ?? [] where isPending(entry, on: kernel) {
      sendAnew(entry.client, &step)
    }
  }

  /// A kernel has answered a request or a probe: it is alive, and hears this one.
  mutating func noteAnswer(of kernel: KernelID, at now: Time) {
    peers[kernel]?.handleAnswer(at: now)
  }

  /// Another kernel is at a locator: the one before it has ended, and its entities with it.
  mutating func handleReboot(of kernel: KernelID, at locator: Locator, _ step: inout Step) {
    let waiting = (peers[kernel]?.waiting.entries ?? []).filter { isPending($0, on: kernel) }
    keepOutcomes(of: kernel, for: places[locator]?.kernel ?? kernel, at: step.now)
    peers[kernel] = nil
    noteEarlier(kernel, at: locator)
    whereabouts.forgetAll(on: kernel)
    for entry in waiting { goOn(entry, without: kernel, &step) }
  }

  /// The kernel that was asked has ended: its server has moved before that, or has ended with it.
  private mutating func goOn(
    _ entry: Waiting, without kernel: KernelID, _ step: inout Step
  ) {
    guard let server = entities[entry.client]?.current?.holder else { return }
    addPending(entry.client, entry.transaction, on: kernel, at: step.now)
    guard Self.isMovable(server) else {
      return finish(entry.client, .outcomeUnknown, &step)
    }
    // For the first server at once; its clients' retransmissions look for the others.
    if peers[kernel]?.askedAt != step.now { seek(server, &step) }
    peers[kernel]?.noteAsked(at: step.now)
    armClient(entry.client)
  }

  /// Whether a server has ended with its kernel: all kernels were asked for it, or it cannot move.
  func hasEnded(_ server: EntityID, with kernel: KernelID, at now: Time) -> Bool {
    guard dead.contains(kernel) else { return false }
    return !Self.isMovable(server) || peers[kernel]?.isAbsent(server, at: now) == true
  }

  private mutating func noteEarlier(_ kernel: KernelID, at locator: Locator) {
    dead.insert(kernel)
    places[locator]?.earlier.append(kernel)
    if places[locator]?.earlier.count ?? 0 > Limits.earlierBoots,
      let oldest = places[locator]?.earlier.removeFirst()
    {
      dead.remove(oldest)
    }
  }

  // MARK: transactions of local clients with a peer

  /// Records that a transaction of a local client waits for a kernel.
  mutating func addPending(
    _ client: EntityID, _ transaction: TransactionID, on kernel: KernelID, at now: Time
  ) {
    let isFull = withPeer(kernel, at: now) { peer in
      peer.addPending(at: now)
      return peer.waiting.add((client, transaction))
    }
    guard isFull else { return }
    let alive = peers[kernel]!.waiting.entries.filter { isPending($0, on: kernel) }
    peers[kernel]!.waiting.keep(alive)
  }

  /// Records that a transaction no longer waits for its kernel.
  mutating func endPending(_ transaction: ClientTransaction) {
    if case .peer(let kernel) = transaction.route { peers[kernel]?.removePending() }
  }

  func isPending(_ entry: Waiting, on kernel: KernelID) -> Bool {
    isWaiting(entry.client, for: entry.transaction)
      && entities[entry.client]?.current?.route == .peer(kernel)
  }

  // MARK: records of a peer's clients

  /// Adds the record of a client whose request `peer` sent; false if that peer has used up its
  /// share of records.
  mutating func addRecord(
    _ record: @autoclosure () -> ServerTransaction, _ key: RecordKey, of peer: KernelID,
    at now: Time
  ) -> Bool {
    let own = withPeer(peer, at: now) { $0.records.count }
    guard Limits.hasRoom(own, used: records.count, of: Limits.records) else { return false }
    setRecord(record(), key, of: peer, at: now)
    return true
  }

  /// Adds a record that another kernel has had room for, with its server.
  mutating func setRecord(
    _ record: ServerTransaction, _ key: RecordKey, of peer: KernelID, at now: Time
  ) {
    if let old = records[key]?.peer { peers[old]?.records.remove(key) }
    records[key] = record
    withPeer(peer, at: now) { _ = $0.records.insert(key) }
  }

  /// Moves a record to its new sender, when a client's request came through another kernel than the
  /// last.
  mutating func moveRecord(_ key: RecordKey, from old: KernelID, at now: Time) {
    guard let peer = records[key]?.peer, peer != old else { return }
    peers[old]?.records.remove(key)
    withPeer(peer, at: now) { _ = $0.records.insert(key) }
  }

  mutating func dropRecord(_ key: RecordKey) {
    guard let peer = records[key]?.peer else { return }
    records[key] = nil
    peers[peer]?.records.remove(key)
  }

  // MARK: probes for a peer's clients

  /// Adds a probe that the record of `payer`'s client needs; nil if that peer has used up its
  /// share.
  mutating func addProbe(_ key: RecordKey, of payer: KernelID, at now: Time) -> TransactionID? {
    let own = withPeer(payer, at: now) { $0.probes }
    guard Limits.hasRoom(own, used: probes.count, of: Limits.probes) else { return nil }
    let transaction = randomTransaction()
    guard probes[transaction] == nil else { return nil }
    probes[transaction] = Probe(
      record: key, asked: kernel(of: key.client), payer: payer, sentAt: now)
    peers[payer]!.probes += 1
    return transaction
  }

  /// The probe that a kernel has answered, or that is over; nil if that kernel was not asked.
  @discardableResult
  mutating func takeProbe(_ transaction: TransactionID, from kernel: KernelID? = nil) -> Probe? {
    guard let probe = probes[transaction], probe.asked == kernel ?? probe.asked else { return nil }
    probes[transaction] = nil
    if let count = peers[probe.payer]?.probes { peers[probe.payer]!.probes = max(0, count - 1) }
    return probe
  }
}

/// The kernel at a locator, and those that were there before.
struct Place: Sendable {
  var kernel: KernelID
  /// Oldest first.
  var earlier: [KernelID] = []
}
