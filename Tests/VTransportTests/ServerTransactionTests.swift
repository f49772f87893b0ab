import Testing
import VProtocol
import VTransport

/// The record of one remote client in each state of its diagram; its request is transaction 5.
@Suite("Server transaction")
struct ServerTransactionTests {
  static let id: UInt32 = 5

  private func after(_ milliseconds: Int64) -> Time { start + .milliseconds(milliseconds) }

  private func take(
    _ record: inout ServerTransaction, _ packet: Packet, at now: Time
  ) -> ServerTransaction.Action {
    record.handleRequest(packet.header, packet.bytes.span.bytes, from: kernelS, at: now)
  }

  private func timeOut(
    _ record: inout ServerTransaction, at now: Time, isPeerLost: Bool = false
  ) -> ServerTransaction.Action {
    record.handleTimeout(at: now, roundTrip: RoundTrip(), isPeerLost: isPeerLost)
  }

  private func state(
    _ id: UInt32 = id, awaiting: Bool = true
  ) -> ProbeEntity.EntityState {
    ProbeEntity.EntityState(
      transaction: TransactionID(id), entity: client, isAwaitingResponse: awaiting,
      principal: "ann@kea")
  }

  private func notify(
    _ code: ReplyCode, _ mask: UInt32 = 0, id: UInt32 = id
  ) -> NotifyServer {
    NotifyServer(
      server: server, client: client, transaction: TransactionID(id),
      delivery: DeliveryMask(rawValue: mask), code: code)
  }

  private func repeated(
    control: ControlFlags = .acknowledge, count: UInt8 = 1, segment: Int = 0,
    mask: DeliveryMask? = []
  ) throws -> Packet {
    try packets(
      .request, Self.id, segment: segment, mask: mask, control: control, retransmitCount: count)[0]
  }

  /// A record that has received the first packet and probed its client.
  private func probing(segment: Int = 0) throws -> ServerTransaction {
    let packet = try packets(.request, Self.id, segment: segment)[0]
    var record = ServerTransaction(
      packet.header, packet.bytes.span.bytes, from: kernelS, at: start)
    #expect(record.start(at: start, roundTrip: RoundTrip()) == .probe)
    return record
  }

  private func processing(segment: Int = 0) throws -> ServerTransaction {
    var record = try probing(segment: segment)
    #expect(record.handleProbe(state(), at: start) == .deliver(message(segment: segment)))
    return record
  }

  private func responded(segment: Int = 3000) throws -> ServerTransaction {
    var record = try processing()
    let whole = DeliveryMask(segmentBytes: segment)
    #expect(
      record.respond(message(segment: segment), by: server, at: start)
        == .respond(whole, acknowledge: false))
    return record
  }

  private func discarded() throws -> ServerTransaction {
    var record = try responded()
    #expect(record.handleNotify(notify(.ok), at: start) == .nothing)
    #expect(record.isDiscarded)
    return record
  }

  // MARK: awaiting probe

  @Test("awaiting probe: the probe is repeated after doubling times up to 100 ms, for a second")
  func probeRepeated() throws {
    var record = try probing()
    #expect(record.wakeAt == after(50))
    #expect(timeOut(&record, at: after(49)) == .nothing)
    #expect(timeOut(&record, at: after(50)) == .probe)
    #expect(record.wakeAt == after(150))
    for _ in 0..<11 {
      let now = record.wakeAt
      #expect(timeOut(&record, at: now) == .probe)
      #expect(record.wakeAt == now + .milliseconds(100))
    }
    #expect(timeOut(&record, at: record.wakeAt) == .drop)
  }

  @Test("awaiting probe: a lost kernel's request is dropped")
  func probeLost() throws {
    var record = try probing()
    #expect(timeOut(&record, at: after(50), isPeerLost: true) == .drop)
  }

  @Test("awaiting probe: a repeated request is kept for later")
  func probeRepeatedRequest() throws {
    var record = try probing(segment: 2000)
    let packets = try packets(.request, Self.id, segment: 2000, retransmitCount: 1)
    #expect(take(&record, packets[1], at: after(1)) == .nothing)
    #expect(record.handleProbe(state(), at: after(2)) == .deliver(message(segment: 2000)))
    #expect(record.principal == Principal("ann@kea"))
    #expect(record.retransmitCount == 1)
  }

  @Test("R9: awaiting probe: a client that waits for another transaction did not send this request")
  func probeOther() throws {
    for (id, awaiting) in [(5, false), (9, true), (9, false)] as [(UInt32, Bool)] {
      var record = try probing()
      #expect(record.handleProbe(state(id, awaiting: awaiting), at: after(1)) == .nothing)
      #expect(record.isDiscarded)
      #expect(timeOut(&record, at: after(5001)) == .drop)
    }
  }

  @Test("awaiting probe: after a late duplicate the client's current request is still taken")
  func probeThenCurrent() throws {
    var record = try probing()
    #expect(record.handleProbe(state(9), at: after(1)) == .nothing)
    #expect(take(&record, try packets(.request, 8)[0], at: after(2)) == .nothing)
    #expect(take(&record, try packets(.request, 9)[0], at: after(2)) == .deliver(message()))
  }

  @Test("R9: awaiting probe: a finished transaction is not executed by its own late duplicate")
  func probeThenDuplicate() throws {
    var record = try probing()
    #expect(record.handleProbe(state(9, awaiting: false), at: after(1)) == .nothing)
    #expect(take(&record, try packets(.request, 9)[0], at: after(2)) == .nothing)
    #expect(take(&record, try packets(.request, 10)[0], at: after(3)) == .deliver(message()))
  }

  @Test("awaiting probe: a newer request takes the place of the first")
  func probeNewer() throws {
    var record = try probing()
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .nothing)
    #expect(record.id == TransactionID(6))
    #expect(record.handleProbe(state(6), at: after(2)) == .deliver(message()))
  }

  @Test("awaiting probe: an answer from before the request is not about it")
  func probeTooEarly() throws {
    var record = try probing()
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .nothing)
    #expect(record.handleProbe(state(5), at: after(2)) == .nothing)
    #expect(!record.isDiscarded)
    #expect(record.handleProbe(state(6), at: after(3)) == .deliver(message()))
  }

  // MARK: receiving

  @Test("R1: receiving: the rest makes it whole, in every order, once")
  func receiving() throws {
    let packets = try packets(.request, Self.id, segment: 2100)
    for order in permutations(3) {
      let first = packets[order[0]]
      var record = ServerTransaction(
        first.header, first.bytes.span.bytes, from: kernelS, at: start)
      _ = record.start(at: start, roundTrip: RoundTrip())
      #expect(record.handleProbe(state(), at: start) == .nothing)
      #expect(take(&record, packets[order[1]], at: after(1)) == .nothing)
      #expect(take(&record, packets[order[1]], at: after(1)) == .nothing)
      #expect(take(&record, packets[order[2]], at: after(1)) == .deliver(message(segment: 2100)))
      #expect(record.isProcessing)
      #expect(take(&record, packets[order[0]], at: after(1)) == .nothing)
    }
  }

  @Test("L4, L7: receiving: the rest is waited for 1 ms, 250 us if there is a hole, then asked for")
  func receivingTimeout() throws {
    var record = try probing(segment: 2100)
    #expect(record.handleProbe(state(), at: start) == .nothing)
    #expect(record.wakeAt == after(1))
    let last = try packets(.request, Self.id, segment: 2100)[2]
    #expect(take(&record, last, at: start) == .nothing)
    #expect(record.wakeAt == start + .microseconds(250))
    let retry = ServerTransaction.Action.notifyClient(
      .retry, received: DeliveryMask(rawValue: 0b10011), retransmitCount: 0)
    for attempt in 0..<30 {
      let now = record.wakeAt
      #expect(timeOut(&record, at: now) == retry)
      #expect(record.wakeAt == now + .milliseconds(attempt == 0 ? 50 : 100), "not too often")
    }
    #expect(timeOut(&record, at: record.wakeAt) == .drop, "nobody sends the rest")
  }

  @Test("L8: receiving: a bare header with APG is answered at once with the blocks so far")
  func receivingBareHeader() throws {
    var record = try probing(segment: 2100)
    _ = record.handleProbe(state(), at: start)
    #expect(
      take(&record, try repeated(count: 3, segment: 2100), at: after(1))
        == .notifyClient(.retry, received: DeliveryMask(rawValue: 0b11), retransmitCount: 3))
  }

  @Test("receiving: a newer request ends the unfinished one")
  func receivingNewer() throws {
    var record = try probing(segment: 2100)
    _ = record.handleProbe(state(), at: start)
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
    let late = try packets(.request, Self.id, segment: 2100)[1]
    #expect(take(&record, late, at: after(2)) == .nothing)
    #expect(record.isProcessing)
  }

  // MARK: processing

  @Test("R2: processing: one OK for a repeated request, none for a stray copy")
  func processingRepeated() throws {
    var record = try processing(segment: 1024)
    func ok(_ count: UInt8) -> ServerTransaction.Action {
      .notifyClient(.ok, received: DeliveryMask(rawValue: 0b11), retransmitCount: count)
    }
    #expect(take(&record, try repeated(count: 2, segment: 1024), at: after(1)) == ok(2))
    #expect(
      take(&record, try repeated(control: [], count: 3, segment: 1024), at: after(1)) == ok(3))
    #expect(take(&record, try repeated(count: 0, segment: 1024), at: after(1)) == ok(0))
    #expect(
      take(&record, try repeated(control: [], count: 0, segment: 1024), at: after(1)) == .nothing)
  }

  @Test("processing: of the packets of a repeated group only the first is answered")
  func processingRepeatedGroup() throws {
    var record = try probing(segment: 2100)
    let packets = try packets(.request, Self.id, segment: 2100, retransmitCount: 1)
    for packet in packets { _ = take(&record, packet, at: start) }
    #expect(record.handleProbe(state(), at: start) == .deliver(message(segment: 2100)))
    let answers = packets.map { take(&record, $0, at: after(1)) }
    #expect(answers.count { $0 != .nothing } == 1)
  }

  @Test("C5: processing: it lasts until the reply, unless the client's kernel is lost")
  func processingTimeout() throws {
    var record = try processing()
    #expect(record.wakeAt == after(10_000))
    #expect(timeOut(&record, at: after(10_000)) == .nothing)
    #expect(record.wakeAt == after(20_000))
    #expect(timeOut(&record, at: after(20_000), isPeerLost: true) == .drop)
  }

  @Test("C8: processing: a newer request is delivered, and the older one's reply is dropped")
  func processingNewer() throws {
    var record = try processing()
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
    #expect(record.id == TransactionID(6))
  }

  @Test("processing: notifications have no effect")
  func processingNotify() throws {
    var record = try processing()
    for code in [ReplyCode.ok, .retry, .retryAll, .responseDiscarded] {
      #expect(record.handleNotify(notify(code), at: after(1)) == .nothing)
      #expect(record.isProcessing)
    }
  }

  // MARK: responded

  @Test("C6: responded: the response is kept and its client asked after 5 s whether it came")
  func respondedTimeout() throws {
    var record = try responded()
    #expect(record.response == message(segment: 3000))
    #expect(record.responder == server)
    #expect(timeOut(&record, at: after(4999)) == .nothing)
    #expect(timeOut(&record, at: after(5000)) == .respond([], acknowledge: true))
    #expect(timeOut(&record, at: after(10_000), isPeerLost: true) == .drop)
  }

  @Test("L2, R3: responded: a repeated request gets the kept response, a stray copy does not")
  func respondedRepeated() throws {
    var record = try responded()
    let whole = DeliveryMask(rawValue: 0b111111)
    #expect(
      take(&record, try repeated(count: 4), at: after(1)) == .respond(whole, acknowledge: false))
    #expect(record.retransmitCount == 4)
    #expect(take(&record, try repeated(control: [], count: 0), at: after(1)) == .nothing)
  }

  @Test("L5: responded: RETRY repeats what is missing, RETRY_ALL everything", arguments: 0..<64)
  func respondedRetry(mask: UInt32) throws {
    var record = try responded()
    #expect(
      record.handleNotify(notify(.retry, mask), at: after(1))
        == .respond(DeliveryMask(rawValue: 0b111111 & ~mask), acknowledge: false))
    #expect(
      record.handleNotify(notify(.retryAll, mask), at: after(1))
        == .respond(DeliveryMask(rawValue: 0b111111), acknowledge: false))
    #expect(record.response != nil)
  }

  @Test("responded: any other notification frees the response")
  func respondedAcknowledged() throws {
    for code in [ReplyCode.ok, .responseDiscarded, .badTransactionID] {
      var record = try responded()
      #expect(record.handleNotify(notify(code), at: after(1)) == .nothing)
      #expect(record.isDiscarded)
      #expect(record.response == nil)
      #expect(record.wakeAt == after(5001))
    }
  }

  @Test("responded: notifications of another transaction are not about this response")
  func respondedOtherNotify() throws {
    var record = try responded()
    for id: UInt32 in [4, 6] {
      #expect(record.handleNotify(notify(.ok, id: id), at: after(1)) == .nothing)
      #expect(record.response != nil)
    }
  }

  @Test("B5: responded: the next request acknowledges the response")
  func respondedNewer() throws {
    var record = try responded()
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
    #expect(record.response == nil)
    #expect(record.responder == .none)
  }

  @Test("responded: a second answer is dropped")
  func respondedTwice() throws {
    var record = try responded()
    #expect(record.respond(message(), by: server, at: after(1)) == .nothing)
    #expect(record.response == message(segment: 3000))
  }

  // MARK: forwarded

  private func passedOn() throws -> ServerTransaction {
    var record = try processing()
    #expect(
      record.forward(message(segment: 3000), to: other, at: start)
        == .forward(DeliveryMask(rawValue: 0b111111), tellsClient: false))
    return record
  }

  private let other = EntityID(kernel: KernelID(99), discriminator: 20)

  private func remoteNotify(
    _ code: ReplyCode, _ mask: UInt32 = 0, id: UInt32 = id
  ) -> NotifyClient {
    NotifyClient(
      client: client, transaction: TransactionID(id), delivery: DeliveryMask(rawValue: mask),
      code: code, retransmitCount: 0)
  }

  @Test("W2: forwarded: a repeated request is answered OK, and the next server is asked")
  func forwardedRepeated() throws {
    var record = try passedOn()
    #expect(record.forwarded?.target == other)
    #expect(record.forwarded?.request == message(segment: 3000))
    #expect(
      take(&record, try repeated(count: 2), at: after(1))
        == .forward([], tellsClient: true))
    #expect(take(&record, try repeated(control: [], count: 0), at: after(1)) == .nothing)
  }

  @Test("W7: forwarded: RETRY of the next server sends it the missing blocks")
  func forwardedRetry() throws {
    var record = try passedOn()
    #expect(record.handleRemoteNotify(remoteNotify(.ok), at: after(1)) == .nothing)
    #expect(
      record.handleRemoteNotify(remoteNotify(.retry, 0b11), at: after(1))
        == .forward(DeliveryMask(rawValue: 0b111100), tellsClient: false))
    #expect(record.handleRemoteNotify(remoteNotify(.retry, id: 4), at: after(1)) == .nothing)
  }

  @Test("forwarded: any other code of the next server is passed on to the client")
  func forwardedFails() throws {
    var record = try passedOn()
    #expect(
      record.handleRemoteNotify(remoteNotify(.nonexistentEntity), at: after(1))
        == .notifyClient(.nonexistentEntity, received: [], retransmitCount: 0))
    #expect(record.isDiscarded)
    #expect(record.forwarded == nil)
  }

  @Test("forwarded: a reply comes too late, a newer request does not")
  func forwardedNewer() throws {
    var record = try passedOn()
    #expect(record.respond(message(), by: server, at: after(1)) == .nothing)
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
    #expect(record.forwarded == nil)
  }

  // MARK: discarded

  @Test("discarded: a repeated request is answered so, and a stray copy is not")
  func discardedRepeated() throws {
    var record = try discarded()
    #expect(
      take(&record, try repeated(count: 2), at: after(1))
        == .notifyClient(.responseDiscarded, received: [], retransmitCount: 2))
    #expect(take(&record, try repeated(control: [], count: 0), at: after(1)) == .nothing)
  }

  @Test("discarded: the next request needs no probe")
  func discardedNewer() throws {
    var record = try discarded()
    #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
  }

  @Test("C6: discarded: the record goes after 5 s")
  func discardedTimeout() throws {
    var record = try discarded()
    #expect(timeOut(&record, at: after(4999)) == .nothing)
    #expect(timeOut(&record, at: after(5000)) == .drop)
  }

  // MARK: in every state

  @Test("R4, R6: an older request is dropped in every state, also across the wrap")
  func older() throws {
    for make in [
      { try self.probing() }, { try self.processing() }, { try self.responded() },
      { try self.discarded() },
    ] as [() throws -> ServerTransaction] {
      var record = try make()
      for id: UInt32 in [4, 0, .max, 0x8000_0006] {
        let packet = try packets(.request, id, control: .acknowledge, retransmitCount: 1)[0]
        #expect(take(&record, packet, at: after(1)) == .nothing)
        #expect(record.id == TransactionID(5))
      }
    }
  }

  @Test("R6: transaction numbers go on at 0 after the last one")
  func wrap() throws {
    let last = try packets(.request, .max)[0]
    var record = ServerTransaction(last.header, last.bytes.span.bytes, from: kernelS, at: start)
    _ = record.start(at: start, roundTrip: RoundTrip())
    #expect(record.handleProbe(state(.max), at: start) == .deliver(message()))
    #expect(take(&record, try packets(.request, 0)[0], at: start) == .deliver(message()))
    #expect(take(&record, last, at: start) == .nothing)
  }

  @Test("W3: a higher forward count is a request that was forwarded back, a lower one is old")
  func forwarded() throws {
    var record = try processing()
    let twice = try packets(.request, Self.id, retransmitCount: 1, forwardCount: 2)[0]
    #expect(take(&record, twice, at: after(1)) == .deliver(message()))
    #expect(record.forwardCount == 2)
    for forwards: UInt8 in 0..<2 {
      let packet = try packets(
        .request, Self.id, retransmitCount: 1, forwardCount: forwards)[0]
      let (header, bytes) = (packet.header, packet.bytes)
      if forwards > 0 {
        // Its forwarder has not heard that it has come.
        #expect(
          record.handleRequest(header, bytes.span.bytes, from: kernelN, at: after(1))
            == .notifyForwarder(kernelN, forwardCount: forwards, retransmitCount: 1))
      }
      // The client's own kernel asks, which does not know of the forwards.
      #expect(
        take(&record, packet, at: after(1))
          == .notifyClient(.ok, received: [], retransmitCount: 1))
    }
  }
}
