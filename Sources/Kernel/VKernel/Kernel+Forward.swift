public import VProtocol
import VTransport

/// Forward and datagrams: messages that no process here waits for.
extension Kernel {
  /// Passes the request of a waiting client to another server, which answers the client itself.
  ///
  /// `message` is the request for the next server. The transaction of a local client is redirected.
  /// A remote client's request goes on to another server of this kernel, or to a third kernel,
  /// which answers the client directly. The 16th forward is a nested call.
  public mutating func forward(
    _ request: Request, _ message: Message, to target: EntityID, _ step: inout Step
  ) {
    let client = request.client
    let isLocal = kernel(of: target) == id
    if isLocal && entities[target]?.serverKind == nil {
      return reply(Message(reply: .nonexistentEntity), to: request, &step)
    }
    if request.forwardCount >= Self.forwardsMax {
      return nest(request, message, to: target, &step)
    }
    let key = RecordKey(request)
    let record = records[key].flatMap { $0.id == request.transaction && $0.isProcessing ? $0 : nil }
    // A local client's request has one if another kernel forwarded it back here, and that kernel
    // asks for its state until this one answers it, or sends it elsewhere itself.
    if isHere(client) && (record == nil || !isLocal) {
      if record != nil {
        records[key]!.sendOn(at: step.now)
        armRecord(key)
      }
      guard isWaiting(client, for: request.transaction) else { return }
      if isLocal {
        entities[client]!.current!.holder = target
        noteWaiting(client, request.transaction, for: target)
        deliverLocally(
          message, from: client, request.transaction, to: target, target,
          forwardCount: request.forwardCount + 1, &step)
      } else {
        aim(client, at: target, message, request.forwardCount + 1, &step)
      }
      return
    }
    guard let record else { return }
    guard isLocal else {
      return perform(
        records[key]!.forward(message, to: target, at: step.now), of: key, &step)
    }
    records[key]!.handleForwardedHere(to: target)
    noteWork(of: target, key, record.id)
    var next = request
    next.server = target
    next.forwardCount += 1
    next.message = message
    next.principal = record.principal
    step.append(.invoke(next))
  }

  /// Sends a forwarded request, or the bare header that asks for its state.
  mutating func transmitForwarded(
    _ key: RecordKey, _ record: ServerTransaction, _ mask: DeliveryMask, _ tellsClient: Bool,
    _ step: inout Step
  ) {
    guard let (request, target) = record.forwarded else { return }
    let kernel = kernel(of: target)
    let answeredAt = peers[kernel]?.answeredAt
    if let asked = record.targetAskedAt,
      max(asked, answeredAt ?? asked) + Timing.silence <= step.now
    {
      return fail(key, .retransmissionTimeout, &step)
    }
    if tellsClient {
      notifyClient(
        record.client, record.id, request.blocks, .ok,
        retransmitCount: record.retransmitCount, to: record.peer, &step)
      // A kernel that never heard this one cannot tell which kernel forwards a clear packet.
      askForSign(of: kernel, &step)
    }
    // It goes once its server has arrived there.
    if frozen[target] != nil { return }
    guard peers[kernel]?.locator != nil else {
      return locate(target.kernel == kernel ? target : .manager(of: kernel), &step)
    }
    var header = PacketHeader(
      function: .request, client: record.client, transaction: record.id, server: target,
      mcb: request.mcb)
    header.forwardCount = record.forwardCount + 1
    header.retransmitCount =
      record.isForwardTaken ? max(1, record.retransmitCount) : 0
    header.priority = record.priority
    header.control.insert(.acknowledge)
    transmit(to: kernel, header, segment: request.segment, mask: mask, &step)
  }

  /// Redirects the transaction of a local client to a server of another kernel.
  private mutating func aim(
    _ client: EntityID, at target: EntityID, _ message: Message, _ forwardCount: UInt8,
    _ step: inout Step
  ) {
    guard let old = entities[client]?.current else { return }
    let kernel = kernel(of: target)
    let route = ClientTransaction.Route.peer(kernel)
    if let code = refusal(of: target, by: route, &step) {
      return finish(client, code, &step)
    }
    endPending(old)
    let next = ClientTransaction(
      id: old.id, server: target, route: route, request: message, limit: old.limit,
      forwardCount: forwardCount, begins: isUnknown(client, to: target, by: route, at: step.now),
      priority: old.priority, at: step.now, roundTrip: roundTrip(by: route))
    entities[client]!.current = next
    addPending(client, old.id, on: kernel, at: step.now)
    counters.requestsSent += 1
    transmitRequest(of: client, message.blocks, acknowledge: false, &step)
    armClient(client)
  }

  /// Sends a request that is not answered and not repeated; it may be lost.
  public mutating func sendDatagram(
    _ message: Message, from client: EntityID, to server: EntityID, _ step: inout Step
  ) {
    guard let (transaction, priority) = entities[client]?.begin() else { return }
    var message = message
    message.mcb.flags.insert(.datagram)
    let members =
      server.isGroup ? groups[server]?.members ?? [] : isHere(server) ? [server] : []
    for member in members where entities[member]?.serverKind != nil {
      deliverLocally(message, from: client, transaction, to: server, member, &step)
    }
    var header = PacketHeader(
      function: .request, client: client, transaction: transaction, server: server,
      mcb: message.mcb)
    header.priority = priority
    if server.isGroup {
      counters.multicastsSent += 1
      dispatch(Transmission(to: .group(server), header, segment: message.segment), &step)
    } else if !isHere(server) {
      transmit(to: kernel(of: server), header, segment: message.segment, &step)
    }
  }

  /// The ForwardCount has four bits.
  static let forwardsMax: UInt8 = 15
}
