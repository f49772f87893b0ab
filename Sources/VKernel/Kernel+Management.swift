import VProtocol
import VTransport

/// Probes and acknowledgements: what kernels say to each other's managers.
///
/// The manager is the kernel itself: it answers at once, keeps no record of who asks, and every
/// operation here may be repeated. RFC 1045 appendix III.
extension Kernel {
  /// Tells every kernel on the net that this one exists now, and where.
  public mutating func announce(into actions: inout Actions) {
    var header = managementHeader(ProbeEntity(entity: manager).message.mcb)
    header.mcb.flags.insert(.datagram)
    counters.multicastsSent += 1
    actions.append(.transmit(Transmission(to: .group(.managerGroup), header)))
  }

  mutating func handleManagement(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time,
    into actions: inout Actions
  ) {
    switch header.mcb.code {
    case Management.probeEntity:
      answerProbe(header, from: peer, into: &actions)
    case Management.notifyClient:
      let notify = NotifyClient(parsing: header.mcb)
      guard entities[notify.client]?.current?.id == notify.transaction else { return }
      var roundTrip = peers[peer]?.roundTrip ?? RoundTrip()
      let action =
        entities[notify.client]?.current?.handleNotify(
          notify, at: now, roundTrip: &roundTrip) ?? .nothing
      peers[peer]?.roundTrip = roundTrip
      perform(action, of: notify.client, responding: nil, from: peer, at: now, into: &actions)
    case Management.notifyRemoteClient:
      let notify = NotifyClient(parsing: header.mcb)
      let key = RecordKey(client: notify.client, member: .none)
      guard records[key] != nil else { return }
      let action = records[key]!.handleRemoteNotify(notify, at: now)
      perform(action, of: key, at: now, into: &actions)
    case Management.notifyServer:
      let notify = NotifyServer(parsing: header.mcb)
      for member in [EntityID.none, notify.server] {
        let key = RecordKey(client: notify.client, member: member)
        guard records[key] != nil else { continue }
        let action = records[key]!.handleNotify(notify, at: now)
        perform(action, of: key, at: now, into: &actions)
      }
    default:
      counters.packetsIgnored += 1
      refuse(header, .illegalRequest, to: peer, into: &actions)
    }
  }

  private mutating func answerProbe(
    _ header: PacketHeader, from peer: KernelID, into actions: inout Actions
  ) {
    guard let probe = try? ProbeEntity(parsing: Message(header.mcb)), probe.entity.kernel == id
    else { return refuse(header, .nonexistentEntity, to: peer, into: &actions) }
    answer(header, state(of: probe.entity), to: peer, into: &actions)
  }

  /// Says no to who asked this manager alone; what all were asked is for another one.
  private func refuse(
    _ header: PacketHeader, _ code: ReplyCode, to peer: KernelID, into actions: inout Actions
  ) {
    guard header.server == manager else { return }
    answer(header, Message(reply: code), to: peer, into: &actions)
  }

  private func answer(
    _ header: PacketHeader, _ message: Message, to peer: KernelID, into actions: inout Actions
  ) {
    guard !header.mcb.flags.contains(.datagram), header.client.kernel != id else { return }
    var response = PacketHeader(
      function: .response, client: header.client, transaction: header.transaction,
      server: manager, mcb: message.mcb)
    response.retransmitCount = header.retransmitCount
    transmit(to: peer, response, segment: message.segment, into: &actions)
  }

  /// A management request of a process of this kernel.
  func answerOwnManager(_ message: Message) -> Message {
    guard message.mcb.code == Management.probeEntity,
      let probe = try? ProbeEntity(parsing: message)
    else { return Message(reply: .illegalRequest) }
    return state(of: probe.entity)
  }

  /// The answer to a probe of a local entity.
  private func state(of entity: EntityID) -> Message {
    if let known = entities[entity] {
      return ProbeEntity.EntityState(
        transaction: known.lastTransaction, entity: entity,
        isAwaitingResponse: known.current != nil, principal: "\(known.user)@\(host)"
      ).message
    }
    var gone = Message(reply: entity == manager ? .ok : .nonexistentEntity)
    gone.mcb.setPair(2, entity.rawValue)
    return gone
  }

  /// Asks the manager of a new client who it is and what it is doing.
  mutating func probe(
    _ key: RecordKey, _ record: ServerTransaction, at now: Time, into actions: inout Actions
  ) {
    let kernel = record.client.kernel
    if kernel == id {
      // A forward that came home: the client is right here.
      guard let state = try? ProbeEntity.EntityState(parsing: state(of: record.client)) else {
        return
      }
      let action = records[key]!.handleProbe(state, at: now)
      return perform(action, of: key, at: now, into: &actions)
    }
    guard probes.count < Self.probesMax else { return }
    guard let locator = peers[kernel]?.locator else {
      // Forwarded by another kernel, of a client that was never heard: its record asks again.
      locate(record.client, at: now, into: &actions)
      return
    }
    let transaction = randomTransaction()
    probes[transaction] = Probe(record: key, sentAt: now)
    timers.push(.probe(transaction), at: now + Timing.silence)
    sendProbe(of: record.client, transaction, to: .peer(kernel, locator), into: &actions)
  }

  mutating func handleProbeAnswer(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time,
    into actions: inout Actions
  ) {
    // Whoever is probed may answer anything, so also a part of what it promises.
    guard header.delivery.contains(DeliveryMask(segmentBytes: header.mcb.segmentSize)),
      let probe = probes.removeValue(forKey: header.transaction)
    else { return }
    withPeer(peer, at: now) { $0.roundTrip.addNetworkSample(now - probe.sentAt) }
    guard records[probe.record] != nil else { return }
    let message = wholeMessage(header, packet)
    guard message.reply.isOK, let state = try? ProbeEntity.EntityState(parsing: message),
      state.entity == probe.record.client
    else {
      // The client is gone: nobody waits for what it asked.
      records[probe.record] = nil
      return
    }
    let action = records[probe.record]!.handleProbe(state, at: now)
    perform(action, of: probe.record, at: now, into: &actions)
  }

  /// Asks all kernels who holds `entity`; whoever answers is thereby located.
  mutating func locate(_ entity: EntityID, at now: Time, into actions: inout Actions) {
    withPeer(entity.kernel, at: now) { $0.askedAt = now }
    counters.multicastsSent += 1
    sendProbe(of: entity, randomTransaction(), to: .group(.managerGroup), into: &actions)
  }

  /// Asks a kernel whether it is at `locator`; its answer says so.
  mutating func challenge(
    _ kernel: KernelID, at locator: Locator, into actions: inout Actions
  ) {
    sendProbe(
      of: .manager(of: kernel), randomTransaction(), to: .peer(kernel, locator), into: &actions)
  }

  /// Asks a silent kernel for a sign of life, now and then.
  mutating func askForSign(of kernel: KernelID, at now: Time, into actions: inout Actions) {
    let peer = peers[kernel]
    if let asked = peer?.askedAt, now < asked + Timing.retransmissionCap { return }
    withPeer(kernel, at: now) { $0.askedAt = now }
    guard let locator = peer?.locator else {
      locate(.manager(of: kernel), at: now, into: &actions)
      return
    }
    challenge(kernel, at: locator, into: &actions)
  }

  private mutating func sendProbe(
    of entity: EntityID, _ transaction: TransactionID, to destination: Destination,
    into actions: inout Actions
  ) {
    counters.probesSent += 1
    var header = managementHeader(ProbeEntity(entity: entity).message.mcb)
    header.transaction = transaction
    actions.append(.transmit(Transmission(to: destination, header)))
  }

  mutating func notifyClient(
    _ client: EntityID, _ transaction: TransactionID, _ received: DeliveryMask,
    _ code: ReplyCode, retransmitCount: UInt8, forwardCount: UInt8 = 0, to peer: KernelID,
    into actions: inout Actions
  ) {
    counters.notifiesSent += 1
    let notify = NotifyClient(
      client: client, transaction: transaction, delivery: received, code: code,
      retransmitCount: retransmitCount, forwardCount: forwardCount)
    // A forwarder is told by another code, since the client is not there.
    let mcb = peer == client.kernel ? notify.mcb : notify.remoteMCB
    transmit(to: peer, managementHeader(mcb), into: &actions)
  }

  mutating func notifyServer(
    _ server: EntityID, of client: EntityID, _ transaction: TransactionID,
    _ received: DeliveryMask, _ code: ReplyCode, to peer: KernelID, into actions: inout Actions
  ) {
    counters.notifiesSent += 1
    let notify = NotifyServer(
      server: server, client: client, transaction: transaction, delivery: received, code: code)
    transmit(to: peer, managementHeader(notify.mcb), into: &actions)
  }

  private func managementHeader(_ mcb: MessageControlBlock) -> PacketHeader {
    PacketHeader(
      function: .request, client: manager, transaction: TransactionID(0),
      server: .managerGroup, mcb: mcb)
  }
}
