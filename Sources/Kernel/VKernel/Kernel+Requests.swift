public import VProtocol
import VTransport

/// The server's side: requests of remote clients, and Reply.
extension Kernel {
  /// A Request packet from another kernel.
  mutating func handleRequest(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, isSealed: Bool,
    _ step: inout Step
  ) {
    if header.server == .managerGroup || header.server == manager {
      handleManagement(header, packet, from: peer, &step)
      return
    }
    // A request of a local client is our own multicast looped back (RFC 1045 4.7, rule 6), or was
    // forwarded back here, if the client still waits for it.
    if kernel(of: header.client) == id,
      header.forwardCount == 0 || entities[header.client]?.current?.id != header.transaction
    {
      return ignore()
    }
    if header.server.isGroup {
      guard isMeant(header.mcb) else { return }
      let members = groups[header.server]?.members ?? []
      if members.isEmpty && !header.packetFlags.contains(.multicast)
        && !header.mcb.flags.contains(.datagram)
      {
        return notifyClient(of: header, .nonexistentEntity, to: peer, &step)
      }
      for member in members {
        handleRequest(header, packet, for: member, from: peer, &step)
      }
      return
    }
    let hasLeft = whereabouts.departure(of: header.server, from: id) != nil
    if hasLeft && !hasPart(in: header) { return answerForDeparted(header, from: peer, &step) }
    // What a kernel of an earlier boot at this place had done is not known here.
    guard isSealed || kernel(of: header.server) == id
    else { return handleStray(header, from: peer, &step) }
    guard hasLeft || entities[header.server]?.serverKind != nil else {
      if !header.packetFlags.contains(.multicast) && !header.mcb.flags.contains(.datagram) {
        let known = records[RecordKey(client: header.client, member: .none)]?.id
        let mayBeDone = known.map { $0 == header.transaction } ?? mayBeDone(header)
        notifyClient(
          of: header, mayBeDone ? .outcomeUnknown : .nonexistentEntity, to: peer, &step)
      }
      return
    }
    handleRequest(header, packet, for: header.server, from: peer, &step)
  }

  /// Whether a server had passed this request on before it left this kernel.
  private func hasPart(in header: PacketHeader) -> Bool {
    let record = records[RecordKey(client: header.client, member: .none)]
    return record?.id == header.transaction && record?.isDiscarded == false
  }

  /// A request to an entity of another kernel came here, of one that was at this place before this
  /// one: its sender is asked for a sign of life, by which it learns who is here now.
  private mutating func handleStray(
    _ header: PacketHeader, from peer: KernelID, _ step: inout Step
  ) {
    ignore()
    guard !header.packetFlags.contains(.multicast), let locator = peers[peer]?.locator,
      strangers.take(at: step.now)
    else { return }
    challenge(peer, at: locator, &step)
  }

  /// Whether a group's members on this kernel are meant: with the co-resident qualifier, only those
  /// of one kernel are, or those that have a member of another group beside them.
  ///
  /// Who qualifies with no entity means its own kernel, and sends no packet.
  func isMeant(_ mcb: MessageControlBlock) -> Bool {
    guard mcb.flags.contains(.coResident) else { return true }
    return mcb.coResident.isGroup ? groups[mcb.coResident] != nil : mcb.coResident.kernel == id
  }

  private mutating func handleRequest(
    _ header: PacketHeader, _ packet: RawSpan, for server: EntityID, from peer: KernelID,
    _ step: inout Step
  ) {
    let isDatagram = header.mcb.flags.contains(.datagram)
    if header.isWholeGroup && entities[server]?.serverKind == .idempotent {
      if !isDatagram {
        records[RecordKey(client: header.client, member: .none)]?.touch(at: step.now)
      }
      let request = Request(
        client: header.client, transaction: header.transaction, addressee: header.server,
        server: server, forwardCount: header.forwardCount,
        message: wholeMessage(header, packet), principal: nil, isLocal: false,
        priority: header.priority.onOtherHost)
      return invoke(request, isSpread: Self.isSpread(header), for: peer, &step)
    }
    let key = RecordKey(
      client: header.client, member: header.server.isGroup ? server : .none)
    guard header.forwardCount > 0 || isConfirmed(header.client, on: peer, &step) else {
      if isDatagram || header.server.isGroup { return }
      return notifyClient(of: header, .busy, to: peer, &step)
    }
    let roundTrip = withPeer(peer, at: step.now) { $0.roundTrip }
    let action: ServerTransaction.Action
    let isNews = records[key]?.isMissing(header) ?? true
    if let old = records[key]?.peer, !(mayBeDone(header) && records[key]!.isUnknown(header)) {
      action = records[key]!.handleRequest(
        header, packet, from: peer, clientKernel: kernel(of: header.client), at: step.now)
      if old != peer { moveRecord(key, from: old, at: step.now) }
    } else if mayBeDone(header) {
      return notifyClient(of: header, .outcomeUnknown, to: peer, &step)
    } else if addRecord(
      ServerTransaction(header, packet, from: peer, at: step.now), key, of: peer, at: step.now)
    {
      action = records[key]!.start(at: step.now, roundTrip: roundTrip)
    } else {
      // Nothing tells the sender of a datagram.
      if isDatagram { return }
      return notifyClient(of: header, .busy, to: peer, &step)
    }
    if action == .nothing && !isNews { counters.duplicates += 1 }
    if case .respond = action, Self.isSpread(header),
      postpone(.answer(key, header.transaction), for: peer, &step)
    {
      return
    }
    perform(action, of: key, &step)
  }

  /// Whether a request without a record is perhaps one that was done, and the record is gone of the
  /// time when it was: the client's clock may have stood still, so no time tells.
  ///
  /// A forwarder repeats a request so only if this kernel has told it that it has the request.
  private func mayBeDone(_ header: PacketHeader) -> Bool {
    header.retransmitCount > 0 && !header.server.isGroup
  }

  /// Carries out an action of a remote client's record.
  mutating func perform(_ action: ServerTransaction.Action, of key: RecordKey, _ step: inout Step) {
    guard let record = records[key] else { return }
    switch action {
    case .nothing: break
    case .drop:
      dropRecord(key)
      return
    case .deliver(let message):
      let server = key.member == .none ? record.addressee : key.member
      guard entities[server]?.serverKind != nil else {
        return fail(key, .nonexistentEntity, &step)
      }
      noteWork(of: server, key, record.id)
      let isSpread = record.isDelayed && record.addressee.isGroup
      invoke(
        record.request(message, for: server),
        isSpread: isSpread && message.mcb.flags.contains(.multipleResponses), for: record.peer,
        &step)
    case .probe:
      probe(key, record, &step)
      seekClient(of: record, &step)
    case .notifyClient(let code, let received, let retransmitCount):
      notifyClient(
        record.client, record.id, received, code, retransmitCount: retransmitCount,
        forwardCount: record.forwardCount, to: record.peer, &step)
    case .notifyForwarder(let peer, let forwardCount, let retransmitCount):
      notifyClient(
        record.client, record.id, [], .ok, retransmitCount: retransmitCount,
        forwardCount: forwardCount, to: peer, &step)
      respond(record.response?.blocks ?? [], acknowledge: false, record, &step)
    case .forward(let mask, let tellsClient):
      transmitForwarded(key, record, mask, tellsClient, &step)
    case .respond(let mask, let acknowledge):
      respond(mask, acknowledge: acknowledge, record, &step)
    }
    armRecord(key)
  }

  /// The local server that had a remote client's request will not answer it.
  mutating func fail(_ key: RecordKey, _ code: ReplyCode, _ step: inout Step) {
    perform(records[key]!.failForward(code, at: step.now), of: key, &step)
  }

  /// Answers a request of a local server; a late or second answer is dropped.
  public mutating func reply(_ message: Message, to request: Request, _ step: inout Step) {
    let message = masked(message, for: request)
    let (client, server) = (request.client, request.server)
    let key = RecordKey(request)
    if kernel(of: client) == id {
      // A request that was forwarded back here has a record; its work is done.
      if records[key]?.id == request.transaction { dropRecord(key) }
      guard isWaiting(client, for: request.transaction) else { return }
      return perform(
        entities[client]!.current!.handleLocalResponse(message, by: server), of: client, &step)
    }
    let isOfRecord =
      records[key].map {
        $0.id == request.transaction && $0.isProcessing && holder(of: $0, key) == server
      } ?? false
    if isOfRecord {
      counters.responsesSent += 1
      perform(records[key]!.respond(message, by: server, at: step.now), of: key, &step)
    } else if entities[server]?.serverKind == .idempotent {
      // A request to it leaves no record.
      counters.responsesSent += 1
      let header = responseHeader(
        message, client, request.transaction, by: server, 0, request.forwardCount)
      transmit(to: kernel(of: client), header, segment: message.segment, &step)
    }
  }

  /// Sends blocks of the kept response, if there is one.
  private mutating func respond(
    _ mask: DeliveryMask, acknowledge: Bool, _ record: ServerTransaction, _ step: inout Step
  ) {
    guard let response = record.response else { return }
    var header = responseHeader(
      response, record.client, record.id, by: record.responder, record.retransmitCount,
      record.forwardCount)
    header.priority = record.priority
    if acknowledge { header.control.insert(.acknowledge) }
    // The response goes to the client's own kernel, whichever kernel forwarded the request.
    transmit(to: kernel(of: record.client), header, segment: response.segment, mask: mask, &step)
    seekClient(of: record, &step)
  }

  private func responseHeader(
    _ response: Message, _ client: EntityID, _ transaction: TransactionID,
    by server: EntityID, _ retransmitCount: UInt8, _ forwardCount: UInt8
  ) -> PacketHeader {
    var header = PacketHeader(
      function: .response, client: client, transaction: transaction, server: server,
      mcb: response.mcb)
    header.retransmitCount = retransmitCount
    header.forwardCount = forwardCount
    return header
  }

  /// The message of a packet that contains its whole group.
  func wholeMessage(_ header: PacketHeader, _ packet: RawSpan) -> Message {
    let size = header.mcb.segmentSize
    guard size > 0 else { return Message(header.mcb) }
    precondition(header.isWholeGroup, "the packet holds its group")
    guard header.mcb.delivery == nil else {
      var group = PacketGroupReception(header)
      _ = group.accept(header, packet)
      return group.message()
    }
    let start = PacketHeader.byteCount
    return Message(header.mcb, segment: packet.copy(start..<(start + size)))
  }
}
