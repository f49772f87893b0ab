public import VProtocol
import VTransport

/// The client's side: Send and responses.
extension Kernel {
  /// Starts a message transaction of `client`, which must have none under way.
  ///
  /// Exactly one `complete` follows, unless the client is retired. A single `server` of this kernel
  /// costs no packet; a group is asked here and by multicast, and the first answer completes it.
  /// With `collects` every member's answer is a `respond`, and the transaction ends at its limit
  /// (GetReply of V; MRD of RFC 1045); with `spreads` they come one after another, if there may be
  /// many (DRT). It has the client's priority, or a lower `priority`.
  @discardableResult
  public mutating func send(
    _ message: Message, from client: EntityID, to server: EntityID, limit: TimeSpan?,
    collects: Bool = false, spreads: Bool = false, priority: Priority = .urgent,
    _ step: inout Step
  ) -> TransactionID {
    precondition(!collects || limit != nil, "all responses are waited for up to a limit")
    var message = message
    if collects { message.mcb.flags.insert(.multipleResponses) }
    guard let (transaction, highest) = entities[client]?.begin() else {
      preconditionFailure("send from an entity that was retired")
    }
    if server == manager {
      complete(client, server: manager, answerOwnManager(message), &step)
      return transaction
    }
    let route = route(to: server, message)
    let isHeldBack = frozen[server] != nil
    if !isHeldBack, let code = refusal(of: server, by: route, &step) {
      complete(client, server: .none, Message(reply: code), &step)
      return transaction
    }
    entities[client]!.current = ClientTransaction(
      id: transaction, server: server, route: route, request: message,
      limit: limit.map { step.now + $0 },
      begins: isUnknown(client, to: server, by: route, at: step.now), collects: collects,
      spread: spreads ? spread(of: server) : nil,
      priority: min(priority, highest), at: step.now,
      roundTrip: roundTrip(by: route))
    if case .peer(let kernel) = route {
      addPending(client, transaction, on: kernel, at: step.now)
    } else if server.isGroup {
      if route == .local { noteWaiting(client, transaction, for: server) }
      for member in groups[server]?.members ?? [] where route == .local || isMeant(message.mcb) {
        deliverLocally(message, from: client, transaction, to: server, member, &step)
      }
    } else if isHeldBack {
      noteWaiting(client, transaction, for: server)
      frozen[server]!.undelivered.append(
        Undelivered(client: client, transaction: transaction, isVouched: true))
    } else {
      noteWaiting(client, transaction, for: server)
      deliverLocally(message, from: client, transaction, to: server, server, &step)
    }
    if route != .local {
      counters.requestsSent += 1
      transmitRequest(of: client, message.blocks, acknowledge: false, &step)
    }
    armClient(client)
    return transaction
  }

  /// Whether this kernel has a server, or a member of a group.
  func serves(_ server: EntityID) -> Bool {
    server.isGroup ? groups[server] != nil : entities[server]?.serverKind != nil
  }

  /// A group is asked everywhere, unless the co-resident qualifier names a kernel: that of some
  /// entity, or, with none, this one.
  ///
  /// Where another group qualifies, each kernel knows its own members.
  func route(to server: EntityID, _ message: Message) -> ClientTransaction.Route {
    if frozen[server] != nil { return .local }
    var kernel = kernel(of: server)
    if server.isGroup {
      guard message.mcb.flags.contains(.coResident) else { return .multicast }
      let near = message.mcb.coResident
      if near.isGroup { return .multicast }
      kernel = near == .none ? id : self.kernel(of: near)
    }
    return kernel == id ? .local : .peer(kernel)
  }

  /// Whether the server's kernel should have a record of a client, and has perhaps none: its next
  /// transaction is begun there before it is sent.
  func isUnknown(
    _ client: EntityID, to server: EntityID, by route: ClientTransaction.Route, at now: Time
  ) -> Bool {
    guard case .peer(let kernel) = route, Self.hasRecords(server) else { return false }
    return peers[kernel]?.locator == nil
      || entities[client]?.exchanges.isRecent(kernel, at: now) != true
  }

  /// Whether the requests of a client to this entity have one record: members of a group have one
  /// each, and a manager has none.
  private static func hasRecords(_ server: EntityID) -> Bool {
    !server.isGroup && server != .manager(of: server.kernel)
  }

  func roundTrip(by route: ClientTransaction.Route) -> RoundTrip {
    guard case .peer(let kernel) = route else { return RoundTrip() }
    return peers[kernel]?.roundTrip ?? RoundTrip()
  }

  /// The reason for not sending a request at all: no such local server, or a silent host.
  mutating func refusal(
    of server: EntityID, by route: ClientTransaction.Route, _ step: inout Step
  ) -> ReplyCode? {
    switch route {
    case .multicast: return nil
    case .local: return serves(server) ? nil : .nonexistentEntity
    case .peer(let kernel):
      if hasEnded(server, with: kernel, at: step.now) { return .nonexistentEntity }
      if conflict.holder != nil { return .retransmissionTimeout }
      guard withPeer(kernel, at: step.now, { $0.isSilent }) else { return nil }
      askForSign(of: kernel, &step)
      seekElsewhere(kernel, for: server, &step)
      return .retransmissionTimeout
    }
  }

  func deliverLocally(
    _ message: Message, from client: EntityID, _ transaction: TransactionID, to addressee: EntityID,
    _ server: EntityID, forwardCount: UInt8 = 0, _ step: inout Step
  ) {
    let known = entities[client]
    step.append(
      .invoke(
        Request(
          client: client, transaction: transaction, addressee: addressee, server: server,
          forwardCount: forwardCount, message: message, principal: known?.principal(on: host),
          isLocal: isOfThisHost(client), priority: known?.messagePriority ?? .normal)))
  }

  /// Sends the blocks of a request, or asks which kernel has its server.
  mutating func transmitRequest(
    of client: EntityID, _ mask: DeliveryMask, acknowledge: Bool, _ step: inout Step
  ) {
    guard
      let (header, segment, route) = entities[client]?.current?.outgoing(
        of: client, acknowledge: acknowledge)
    else { return }
    let server = header.server
    switch route {
    case .local: break
    case .multicast:
      counters.multicastsSent += 1
      // A group's members keep no partial requests, so it always gets the whole request.
      dispatch(Transmission(to: .group(server), header, segment: segment), &step)
    case .peer(let kernel):
      // It goes once its server has arrived there.
      if frozen[server] != nil { return }
      guard peers[kernel]?.locator != nil else {
        if dead.contains(kernel) && !server.isGroup { return seek(server, &step) }
        return locate(server.kernel == kernel ? server : .manager(of: kernel), &step)
      }
      if entities[client]?.current?.isBeginning == true {
        return transmitBegin(of: client, header.retransmitCount, to: kernel, &step)
      }
      transmit(to: kernel, header, segment: segment, mask: mask, &step)
    }
  }

  /// Whether a client of this kernel still waits for the answer to `transaction`.
  public func isWaiting(_ client: EntityID, for transaction: TransactionID) -> Bool {
    entities[client]?.current?.id == transaction
  }

  /// A Response packet for a local client.
  mutating func handleResponse(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, _ step: inout Step
  ) {
    if header.client == manager { return handleProbeAnswer(header, packet, from: peer, &step) }
    guard entities[header.client]?.current?.isAnswered(by: header) == true else {
      ignore()
      return refuseResponse(header, to: peer, &step)
    }
    noteAnswer(of: peer, at: step.now)
    var roundTrip = peers[peer]?.roundTrip ?? RoundTrip()
    let action =
      entities[header.client]?.current?.handleResponse(
        header, packet, at: step.now, roundTrip: &roundTrip) ?? .nothing
    peers[peer]?.roundTrip = roundTrip
    perform(action, of: header.client, responding: header, from: peer, &step)
  }

  /// A response came for which no client of this kernel waits.
  ///
  /// A client that has moved asks again from where it is, but perhaps another server than the one
  /// that answers, after a forward.
  private mutating func refuseResponse(
    _ header: PacketHeader, to peer: KernelID, _ step: inout Step
  ) {
    let hasLeft = whereabouts.departure(of: header.client, from: id) != nil
    let isFirst = header.delivery.isEmpty || header.delivery.rawValue & 1 != 0
    guard
      hasLeft
        ? isFirst && frozen[header.client] == nil : header.control.contains(.acknowledge)
    else { return }
    notifyServer(
      header.server, of: header.client, header.transaction, [],
      hasLeft ? .entityMigrated : .responseDiscarded, to: peer, &step)
  }

  /// Carries out an action of a client transaction.
  mutating func perform(
    _ action: ClientTransaction.Action, of client: EntityID,
    responding header: PacketHeader? = nil, from peer: KernelID? = nil, _ step: inout Step
  ) {
    switch action {
    case .nothing:
      armClient(client)
    case .transmit(let mask, let acknowledge):
      counters.retransmissions += 1
      transmitRequest(of: client, mask, acknowledge: acknowledge, &step)
      armClient(client)
    case .notifyServer(let received, let code):
      if let current = entities[client]?.current, let server = current.responder {
        notifyServer(
          server, of: client, current.id, received, code, to: kernel(of: server), &step)
      }
      armClient(client)
    case .collect(let message, let server):
      if let id = entities[client]?.current?.id {
        step.append(.respond(client: client, id, server: server, message))
      }
      armClient(client)
    case .complete(let message, let server):
      if let header, let peer, header.control.contains(.acknowledge) {
        notifyServer(header.server, of: client, header.transaction, [], .ok, to: peer, &step)
      }
      if let peer { noteExchange(of: client, with: peer, at: step.now) }
      finish(client, server: server, message, &step)
    case .fail(let code):
      finish(client, code, &step)
    }
  }

  /// A client has its response from a kernel, which has a record of it for a while; so has the one
  /// that was asked, if it forwarded the request.
  private mutating func noteExchange(of client: EntityID, with peer: KernelID, at now: Time) {
    guard let current = entities[client]?.current, case .peer(let asked) = current.route,
      Self.hasRecords(current.server)
    else { return }
    if asked != peer { entities[client]?.exchanges.note(asked, at: current.startedAt) }
    entities[client]?.exchanges.note(peer, at: now)
  }

  /// Ends the current transaction of a client.
  mutating func finish(
    _ client: EntityID, server: EntityID, _ message: Message, _ step: inout Step
  ) {
    guard let transaction = entities[client]?.current.take() else { return }
    endPending(transaction)
    complete(client, server: server, message, &step)
  }

  /// Ends it with a code in place of a response.
  mutating func finish(_ client: EntityID, _ code: ReplyCode, _ step: inout Step) {
    finish(client, server: .none, Message(reply: code), &step)
  }

  /// The kernel of the server has been found: the request is sent whole.
  mutating func sendAnew(_ client: EntityID, _ step: inout Step) {
    let roundTrip = roundTrip(by: entities[client]!.current!.route)
    perform(
      entities[client]!.current!.sendAnew(at: step.now, roundTrip: roundTrip), of: client, &step)
  }
}
