import VProtocol
import VTransport

/// Probes and acknowledgements: messages between the managers of kernels.
///
/// The manager is the kernel itself: it answers at once, keeps no records of its clients, and every
/// operation here may be repeated. RFC 1045 appendix III.
extension Kernel {
  /// Tells every kernel on the network that this one exists, and where.
  public mutating func announce(_ step: inout Step) {
    var header = managementHeader(ProbeEntity(manager).message.mcb)
    header.mcb.flags.insert(.datagram)
    counters.multicastsSent += 1
    dispatch(Transmission(to: .group(.managerGroup), header), &step)
  }

  mutating func handleManagement(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, _ step: inout Step
  ) {
    if header.mcb.code == Management.probeEntity {
      guard let locator = peers[peer]?.locator else { return }
      return answerProbe(header, from: peer, at: locator, &step)
    }
    if header.mcb.code == Management.queryOutcome, header.client == .nodeServer(of: peer) {
      return answerOutcome(header, from: peer, &step)
    }
    // Kernels are believed, and no process of theirs.
    guard header.client == .manager(of: peer) else {
      ignore()
      return refuse(header, .illegalRequest, to: peer, &step)
    }
    switch header.mcb.code {
    case Management.notifyClient:
      handleNotify(NotifyClient(parsing: header.mcb), from: peer, &step)
    case Management.notifyRemoteClient:
      handleRemoteNotify(NotifyClient(parsing: header.mcb), from: peer, &step)
    case Management.notifyServer:
      let notify = NotifyServer(parsing: header.mcb)
      // Only the client's own kernel knows what has come.
      guard kernel(of: notify.client) == peer else { return }
      for member in [EntityID.none, notify.server] {
        let key = RecordKey(client: notify.client, member: member)
        guard let record = records[key] else { continue }
        if notify.code == .entityMigrated { probe(key, record, &step) }
        perform(records[key]!.handleNotify(notify, at: step.now), of: key, &step)
      }
    case Management.beginTransaction:
      handleBegin(header, packet, from: peer, &step)
    default:
      counters.packetsIgnored += 1
      refuse(header, .illegalRequest, to: peer, &step)
    }
  }

  /// A kernel says what became of a client's request.
  private mutating func handleNotify(
    _ notify: NotifyClient, from peer: KernelID, _ step: inout Step
  ) {
    // Only the kernel that was asked knows.
    guard let current = entities[notify.client]?.current, current.id == notify.transaction,
      current.route == .peer(peer)
    else { return }
    if entities[notify.client]!.current!.isNews(notify) { noteAnswer(of: peer, at: step.now) }
    if notify.code == .entityMigrated, let kernel = notify.movedTo {
      return handleMigrated(notify.client, current.server, from: peer, to: kernel, &step)
    }
    var roundTrip = peers[peer]?.roundTrip ?? RoundTrip()
    let action =
      entities[notify.client]?.current?.handleNotify(
        notify, at: step.now, roundTrip: &roundTrip) ?? .nothing
    peers[peer]?.roundTrip = roundTrip
    perform(action, of: notify.client, &step)
  }

  /// The same, of a request that was forwarded.
  private mutating func handleRemoteNotify(
    _ notify: NotifyClient, from peer: KernelID, _ step: inout Step
  ) {
    let key = RecordKey(client: notify.client, member: .none)
    // Only the kernel that the request was forwarded to knows.
    guard let record = records[key], let target = record.forwarded?.target,
      kernel(of: target) == peer
    else {
      // Its client is here, and asks that kernel itself, which does not know that it has come.
      return handleNotify(notify, from: peer, &step)
    }
    if record.targetAskedAt != nil { noteAnswer(of: peer, at: step.now) }
    if notify.code == .entityMigrated, let kernel = notify.movedTo {
      handleMoved(ProbeEntity.Moved(target, to: kernel), from: peer, &step)
    }
    perform(records[key]!.handleRemoteNotify(notify, at: step.now), of: key, &step)
  }

  func answerProbe(
    _ header: PacketHeader, from peer: KernelID, at locator: Locator, _ step: inout Step
  ) {
    guard let probe = try? ProbeEntity(parsing: Message(header.mcb))
    else { return refuse(header, .nonexistentEntity, to: peer, &step) }
    let entity = probe.process
    if kernel(of: entity) == id {
      return answer(header, state(of: entity), to: peer, at: locator, &step)
    }
    guard let departed = whereabouts.departure(of: entity, from: id)
    else { return refuse(header, .nonexistentEntity, to: peer, &step) }
    guard header.server != manager
    else { return passOn(header, to: departed.kernel, &step) }
    if frozen[entity] != nil {
      // It answers soon, here or there.
      return answer(header, Message(reply: .busy), to: peer, at: locator, &step)
    }
    let moved = ProbeEntity.Moved(
      entity, to: departed.kernel, principal: departed.principal?.description ?? "")
    answer(header, moved.message, to: peer, at: locator, &step)
  }

  /// Sends a process's question about an entity on to the kernel where that is; it answers itself.
  private func passOn(_ header: PacketHeader, to kernel: KernelID, _ step: inout Step) {
    guard header.forwardCount < Self.forwardsMax else { return }
    var header = header
    header.forwardCount += 1
    header.server = .manager(of: kernel)
    header.packetFlags = []
    transmit(to: kernel, header, &step)
  }

  /// Refuses a request to this manager alone; a request to all managers is for another one.
  func refuse(
    _ header: PacketHeader, _ code: ReplyCode, to peer: KernelID, _ step: inout Step
  ) {
    guard header.server == manager, let locator = peers[peer]?.locator else { return }
    answer(header, Message(reply: code), to: peer, at: locator, &step)
  }

  func answer(
    _ header: PacketHeader, _ message: Message, to peer: KernelID, at locator: Locator,
    _ step: inout Step
  ) {
    guard !header.mcb.flags.contains(.datagram), !isHere(header.client) else { return }
    var response = PacketHeader(
      function: .response, client: header.client, transaction: header.transaction,
      server: manager, mcb: message.mcb)
    response.retransmitCount = header.retransmitCount
    response.forwardCount = header.forwardCount
    dispatch(
      Transmission(to: .peer(peer, locator), response, segment: message.segment), &step)
  }

  /// A management request of a process of this kernel.
  func answerOwnManager(_ message: Message) -> Message {
    guard message.mcb.code == Management.probeEntity,
      let probe = try? ProbeEntity(parsing: message)
    else { return Message(reply: .illegalRequest) }
    return state(of: probe.process)
  }

  /// The answer to a probe of a local entity.
  private func state(of entity: EntityID) -> Message {
    if let state = entityState(of: entity) { return state.message }
    var gone = Message(reply: .nonexistentEntity)
    gone.mcb.setPair(2, entity.rawValue)
    return gone
  }

  /// What another kernel may know of a local entity; nil if there is none.
  func entityState(of entity: EntityID) -> ProbeEntity.EntityState? {
    let known = entities[entity]
    guard known != nil || entity == manager else { return nil }
    return ProbeEntity.EntityState(
      transaction: known?.lastTransaction ?? TransactionID(0), entity: entity,
      isAwaitingResponse: known?.current != nil,
      principal: "\(known?.user ?? "")@\(known?.origin ?? host)",
      marks: known?.marks ?? [], startedAt: conflict.own.startedAt)
  }

  /// Probes the manager of a new client for its principal and its transaction.
  mutating func probe(_ key: RecordKey, _ record: ServerTransaction, _ step: inout Step) {
    let kernel = kernel(of: record.client)
    // On its way it cannot be asked.
    if frozen[record.client] != nil { return records[key]!.handleProbeBusy() }
    if kernel == id {
      // The request was forwarded back to the client's host: the client is local.
      guard let state = entityState(of: record.client) else { return }
      return perform(records[key]!.handleProbe(state, at: step.now), of: key, &step)
    }
    guard let locator = peers[kernel]?.locator else {
      // Forwarded by another kernel, and the client's kernel is unknown: its record probes again.
      return locate(record.client, &step)
    }
    guard let transaction = addProbe(key, of: record.peer, at: step.now) else { return }
    pushTimer(.probe(transaction), at: step.now + Timing.silence)
    sendProbe(of: record.client, transaction, to: .peer(kernel, locator), &step)
  }

  mutating func handleProbeAnswer(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, _ step: inout Step
  ) {
    // A probed kernel may answer anything, also less than its header promises.
    guard header.delivery.contains(DeliveryMask(segmentBytes: header.mcb.segmentSize))
    else { return }
    noteAnswer(of: peer, at: step.now)
    let message = wholeMessage(header, packet)
    let state = message.reply.isOK ? try? ProbeEntity.EntityState(parsing: message) : nil
    if message.reply == .entityMigrated, let moved = try? ProbeEntity.Moved(parsing: message) {
      handleMoved(moved, from: peer, &step)
    }
    if let state { handleFound(state, on: peer, header.transaction, &step) }
    let told = state.flatMap { believed($0, from: peer, &step) }
    // Only the kernel of a client is believed about it.
    guard let probe = takeProbe(header.transaction, from: peer) else { return }
    withPeer(peer, at: step.now) { $0.roundTrip.addNetworkSample(step.now - probe.sentAt) }
    // Of a request at work, it was only asked where its client is.
    guard let record = records[probe.record], record.isAwaitingProbe else { return }
    if message.reply == .entityMigrated {
      guard self.kernel(of: record.client) != peer else { return dropRecord(probe.record) }
      return self.probe(probe.record, record, &step)
    }
    // The client is about to move, and cannot be asked now.
    if message.reply == .busy { return records[probe.record]!.handleProbeBusy() }
    guard let state = told, state.entity == probe.record.client else {
      // The client has ended, and does not wait for an answer; or its principal is not believed.
      if message.reply.isOK { counters.principalsRefused += 1 }
      return dropRecord(probe.record)
    }
    perform(records[probe.record]!.handleProbe(state, at: step.now), of: probe.record, &step)
  }

  /// Asks all kernels for the one with `entity`; its answer also tells where it is.
  mutating func locate(_ entity: EntityID, _ step: inout Step) {
    withPeer(kernel(of: entity), at: step.now) { $0.noteSought(at: step.now) }
    seek(entity, &step)
  }

  /// Asks a kernel whether it is at `locator`; it is if it answers.
  ///
  /// Sealed like a multicast, so that a kernel can open it that has never heard of this one.
  mutating func challenge(_ kernel: KernelID, at locator: Locator, _ step: inout Step) {
    ask(kernel, at: locator, flags: .multicast, &step)
  }

  /// The same for a kernel that has just asked this one, and so expects a packet from it.
  mutating func askBack(_ kernel: KernelID, at locator: Locator, _ step: inout Step) {
    ask(kernel, at: locator, flags: [], &step)
  }

  private mutating func ask(
    _ kernel: KernelID, at locator: Locator, flags: PacketFlags, _ step: inout Step
  ) {
    let transaction = randomTransaction()
    // Only who answers there is believed to be there. A kernel that is not known is met first.
    peers[kernel]?.noteChallenge(at: locator, transaction, step.now)
    sendProbe(
      of: .manager(of: kernel), transaction, to: .peer(kernel, locator), flags: flags, &step)
  }

  /// Asks a silent kernel for a sign of life from time to time.
  mutating func askForSign(of kernel: KernelID, _ step: inout Step) {
    let peer = peers[kernel]
    if let asked = peer?.askedAt, step.now < asked + Timing.retransmissionCap { return }
    withPeer(kernel, at: step.now) { $0.noteAsked(at: step.now) }
    guard let locator = peer?.locator else { return locate(.manager(of: kernel), &step) }
    challenge(kernel, at: locator, &step)
  }

  mutating func sendProbe(
    of entity: EntityID, _ transaction: TransactionID, to destination: Destination,
    flags: PacketFlags = [], _ step: inout Step
  ) {
    counters.probesSent += 1
    var header = managementHeader(ProbeEntity(entity).message.mcb)
    header.transaction = transaction
    header.packetFlags = flags
    dispatch(Transmission(to: destination, header), &step)
  }

  /// Tells the client of a request what has become of that.
  mutating func notifyClient(
    of header: PacketHeader, _ code: ReplyCode, movedTo: KernelID? = nil, to peer: KernelID,
    _ step: inout Step
  ) {
    notifyClient(
      header.client, header.transaction, [], code, retransmitCount: header.retransmitCount,
      forwardCount: header.forwardCount, movedTo: movedTo, to: peer, &step)
  }

  mutating func notifyClient(
    _ client: EntityID, _ transaction: TransactionID, _ received: DeliveryMask, _ code: ReplyCode,
    retransmitCount: UInt8, forwardCount: UInt8 = 0, movedTo: KernelID? = nil, to peer: KernelID,
    _ step: inout Step
  ) {
    counters.notifiesSent += 1
    let notify = NotifyClient(
      client: client, transaction: transaction, delivery: received, code: code,
      retransmitCount: retransmitCount, forwardCount: forwardCount, movedTo: movedTo)
    // A forwarder gets another code, because it does not have the client.
    let isClients = forwardCount == 0 || peer == kernel(of: client)
    let mcb = isClients ? notify.mcb : notify.remoteMCB
    transmit(to: peer, managementHeader(mcb), &step)
  }

  mutating func notifyServer(
    _ server: EntityID, of client: EntityID, _ transaction: TransactionID,
    _ received: DeliveryMask, _ code: ReplyCode, to peer: KernelID, _ step: inout Step
  ) {
    counters.notifiesSent += 1
    let notify = NotifyServer(
      server: server, client: client, transaction: transaction, delivery: received, code: code)
    transmit(to: peer, managementHeader(notify.mcb), &step)
  }

  func managementHeader(_ mcb: MessageControlBlock) -> PacketHeader {
    PacketHeader(
      function: .request, client: manager, transaction: TransactionID(0),
      server: .managerGroup, mcb: mcb)
  }
}
