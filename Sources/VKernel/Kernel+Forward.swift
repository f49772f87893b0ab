public import VProtocol
import VTransport

/// Forward and datagrams: messages that nobody here waits for.
extension Kernel {
  /// Hands the request of a waiting client to another server, which answers the client itself.
  ///
  /// `message` is the request as the next server is to see it. A local client's transaction is
  /// simply aimed anew. A remote client's request goes on to another server of this kernel, or to
  /// a third kernel, which answers the client directly. At most 15 forwards.
  public mutating func forward(
    _ message: Message, client: EntityID, transaction: TransactionID, addressee: EntityID,
    from server: EntityID, forwardCount: UInt8, to target: EntityID, at now: Time,
    into actions: inout Actions
  ) {
    func refuse(_ kernel: inout Kernel, _ code: ReplyCode, _ actions: inout Actions) {
      kernel.reply(
        Message(reply: code), client: client, transaction: transaction, addressee: addressee,
        server: server, forwardCount: forwardCount, at: now, into: &actions)
    }
    guard forwardCount < Self.forwardsMax else { return refuse(&self, .vmtpError, &actions) }
    let isLocal = target.kernel == id
    if isLocal && entities[target]?.serverKind == nil {
      return refuse(&self, .nonexistentEntity, &actions)
    }
    if client.kernel == id {
      guard entities[client]?.current?.id == transaction else { return }
      if isLocal {
        entities[client]!.current!.holder = target
        deliverLocally(
          message, from: client, transaction, to: target, target,
          forwardCount: forwardCount + 1, into: &actions)
      } else {
        aim(client, at: target, message, forwardCount + 1, at: now, into: &actions)
      }
      return
    }
    let key = RecordKey(client: client, member: addressee.isGroup ? server : .none)
    guard let record = records[key], record.id == transaction, record.isProcessing else { return }
    guard isLocal else {
      let action = records[key]!.forward(message, to: target, at: now)
      perform(action, of: key, at: now, into: &actions)
      return
    }
    records[key]!.handleForwardedHere(to: target)
    actions.append(
      .invoke(
        Request(
          client: client, transaction: transaction, addressee: addressee, server: target,
          forwardCount: forwardCount + 1, message: message, principal: record.principal)))
  }

  /// Sends a forwarded request, or the bare header that asks what became of it.
  mutating func transmitForwarded(
    _ key: RecordKey, _ record: ServerTransaction, _ mask: DeliveryMask, _ tellsClient: Bool,
    at now: Time, into actions: inout Actions
  ) {
    guard let (request, target) = record.forwarded else { return }
    let heardAt = peers[target.kernel]?.heardAt
    if let asked = record.targetAskedAt, max(asked, heardAt ?? asked) + Timing.silence <= now {
      let action = records[key]!.failForward(.retransmissionTimeout, at: now)
      return perform(action, of: key, at: now, into: &actions)
    }
    if tellsClient {
      notifyClient(
        record.client, record.id, DeliveryMask(segmentBytes: request.segment.count), .ok,
        retransmitCount: record.echoedRetransmitCount, to: record.peer, into: &actions)
      // A kernel that never heard this one cannot tell who forwards a clear packet.
      askForSign(of: target.kernel, at: now, into: &actions)
    }
    guard let locator = peers[target.kernel]?.locator else {
      return locate(target, at: now, into: &actions)
    }
    var header = PacketHeader(
      function: .request, client: record.client, transaction: record.id, server: target,
      mcb: request.mcb)
    header.forwardCount = record.forwardCount + 1
    header.retransmitCount = record.echoedRetransmitCount
    header.control.insert(.acknowledge)
    actions.append(
      .transmit(
        Transmission(
          to: .peer(target.kernel, locator), header, segment: request.segment, mask: mask)))
  }

  /// Aims the transaction of a local client at a server of another kernel.
  private mutating func aim(
    _ client: EntityID, at target: EntityID, _ message: Message, _ forwardCount: UInt8,
    at now: Time, into actions: inout Actions
  ) {
    guard let old = entities[client]?.current else { return }
    let route = ClientTransaction.Route.peer(target.kernel)
    if let code = refusal(of: target, by: route, at: now, into: &actions) {
      finish(client, server: .none, Message(reply: code), into: &actions)
      return
    }
    endPending(old)
    withPeer(target.kernel, at: now) { $0.addPending(at: now) }
    let next = ClientTransaction(
      id: old.id, server: target, route: route, request: message, limit: old.limit,
      forwardCount: forwardCount, at: now, roundTrip: roundTrip(by: route))
    entities[client]!.current = next
    counters.requestsSent += 1
    transmitRequest(
      of: client, next.wholeRequest, acknowledge: false, at: now, into: &actions)
    armClient(client)
  }

  /// Sends a request that is not answered and not repeated; it may be lost.
  public mutating func sendDatagram(
    _ message: Message, from client: EntityID, to server: EntityID, at now: Time,
    into actions: inout Actions
  ) {
    precondition(entities[client]?.current == nil, "a datagram of a client that waits")
    guard let transaction = entities[client]?.lastTransaction.next else { return }
    entities[client]!.lastTransaction = transaction
    var message = message
    message.mcb.flags.insert(.datagram)
    let members = server.isGroup ? groups[server] ?? [] : server.kernel == id ? [server] : []
    for member in members where entities[member]?.serverKind != nil {
      deliverLocally(message, from: client, transaction, to: server, member, into: &actions)
    }
    let header = PacketHeader(
      function: .request, client: client, transaction: transaction, server: server,
      mcb: message.mcb)
    let destination: Destination
    if server.isGroup {
      counters.multicastsSent += 1
      destination = .group(server)
    } else if server.kernel != id, let locator = peers[server.kernel]?.locator {
      destination = .peer(server.kernel, locator)
    } else {
      return
    }
    let mask = DeliveryMask(segmentBytes: message.segment.count)
    actions.append(
      .transmit(Transmission(to: destination, header, segment: message.segment, mask: mask)))
  }

  /// The ForwardCount has four bits.
  static let forwardsMax: UInt8 = 15
}
