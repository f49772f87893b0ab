import VProtocol
import VTransport

/// Transactions that are begun before their request is sent.
///
/// At most once does not rest on a client's clock, which stands still while its host sleeps: a
/// kernel without a record of a client takes no request that was sent before. So that the loss of
/// a first packet is no unknown outcome, a client that was idle has its record made first, at no
/// more cost than the probe that the request would cause.
extension Kernel {
  /// Tells the kernel of a server who the client is, and which transaction it starts.
  mutating func transmitBegin(
    of client: EntityID, _ retransmitCount: UInt8, to kernel: KernelID, _ step: inout Step
  ) {
    guard let state = entityState(of: client) else { return }
    let message = BeginTransaction(state).message
    var header = managementHeader(message.mcb)
    header.retransmitCount = retransmitCount
    transmit(to: kernel, header, segment: message.segment, &step)
  }

  /// A client of another kernel is about to send a request: there is a record of it from now on.
  mutating func handleBegin(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, _ step: inout Step
  ) {
    guard header.delivery.contains(DeliveryMask(segmentBytes: header.mcb.segmentSize)),
      var begin = try? BeginTransaction(parsing: wholeMessage(header, packet))
    else { return ignore() }
    guard isConfirmed(begin.client, on: peer, &step) else {
      return notifyClient(
        begin.client, begin.transaction, [], .busy, retransmitCount: header.retransmitCount,
        to: peer, &step)
    }
    guard let state = believed(begin.state, from: peer, &step) else {
      counters.principalsRefused += 1
      return
    }
    begin.state = state
    let key = RecordKey(client: begin.client, member: .none)
    var code = ReplyCode.retryAll
    if let known = records[key] {
      // A late copy: the request has come, perhaps with its server from another kernel; or it was
      // sent on from here, and may come again, by its client's own host.
      let isKnown = begin.transaction == known.id
      guard isKnown || begin.transaction.isNewer(than: known.id) else { return }
      if isKnown && (known.isOpen || known.response != nil) { code = .ok }
      records[key]!.handleBegin(begin, at: step.now)
    } else if !addRecord(
      ServerTransaction(begin, from: peer, at: step.now), key, of: peer, at: step.now)
    {
      code = .busy
    }
    armRecord(key)
    notifyClient(
      begin.client, begin.transaction, [], code, retransmitCount: header.retransmitCount,
      to: peer, &step)
  }
}
