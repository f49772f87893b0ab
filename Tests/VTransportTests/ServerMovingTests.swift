import Testing
import VProtocol
import VTransport

/// Records of clients and servers that move, and of requests that were forwarded meanwhile; the
/// request is transaction 5.
@Suite("Server transaction: moving")
struct ServerMovingTests {
  private func after(_ milliseconds: Int64) -> Time { start + .milliseconds(milliseconds) }

  private func take(
    _ record: inout ServerTransaction, _ packet: Packet, from peer: KernelID = kernelS,
    clientKernel: KernelID? = nil, at now: Time
  ) -> ServerTransaction.Action {
    record.handleRequest(
      packet.header, packet.bytes.span.bytes, from: peer, clientKernel: clientKernel, at: now)
  }

  private func state(_ id: UInt32) -> ProbeEntity.EntityState {
    ProbeEntity.EntityState(
      transaction: TransactionID(id), entity: client, isAwaitingResponse: true,
      principal: "ann@kea")
  }

  private func probing(forwardCount: UInt8 = 0) throws -> ServerTransaction {
    let packet = try packets(.request, 5, forwardCount: forwardCount)[0]
    var record = ServerTransaction(
      packet.header, packet.bytes.span.bytes, from: kernelS, at: start)
    #expect(record.start(at: start, roundTrip: RoundTrip()) == .probe)
    return record
  }

  private func processing(forwardCount: UInt8 = 0) throws -> ServerTransaction {
    var record = try probing(forwardCount: forwardCount)
    #expect(record.handleProbe(state(5), at: start) == .deliver(message()))
    return record
  }

  @Test("W3: responded: a forwarder from before the last forward keeps the response alive")
  func forwarderAsks() throws {
    var record = try processing(forwardCount: 2)
    _ = record.respond(message(), by: server, at: start)
    #expect(record.wakeAt == after(5000))
    let repeated = try packets(.request, 5, retransmitCount: 1, forwardCount: 1)[0]
    #expect(
      take(&record, repeated, from: kernelN, at: after(4000))
        == .notifyForwarder(kernelN, forwardCount: 1, retransmitCount: 1))
    #expect(record.wakeAt == after(14_000))
    #expect(record.peer == kernelS && record.response == message())
    // A stray copy of the forward asks nothing.
    let copy = try packets(.request, 5, forwardCount: 1)[0]
    #expect(take(&record, copy, from: kernelN, at: after(4001)) == .nothing)
    // From where the client is now, it is the client that asks.
    #expect(
      take(&record, repeated, from: kernelN, clientKernel: kernelN, at: after(4002))
        == .respond([], acknowledge: false))
  }

  /// A client whose request was forwarded so often, as far as it knows.
  private func knowing(_ forwardCount: UInt8) -> ClientTransaction {
    ClientTransaction(
      id: TransactionID(5), server: server, request: message(), limit: nil,
      forwardCount: forwardCount, at: start, roundTrip: RoundTrip())
  }

  @Test("a record knows more than its client if the request was not forwarded past it")
  func ahead() throws {
    var record = try processing(forwardCount: 1)
    #expect(record.isAhead(of: knowing(0)) && record.isAhead(of: knowing(1)))
    #expect(!record.isAhead(of: knowing(2)))
    _ = record.forward(
      message(), to: EntityID(kernel: KernelID(99), discriminator: 20), at: start)
    #expect(record.isAhead(of: knowing(2)), "it knows the next server")
    #expect(!record.isAhead(of: knowing(3)), "another one has it by now")
    record.sendOn(at: start)
    #expect(!record.isAhead(of: knowing(0)))
  }

  @Test("a client whose record was left before it was probed is probed for its next request")
  func leftUnprobed() throws {
    let ways: [(inout ServerTransaction) -> Void] = [
      { $0.leave(with: server, at: start) }, { $0.sendOn(at: start) },
    ]
    for leave in ways {
      var record = try probing()
      leave(&record)
      #expect(record.isDiscarded)
      #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .probe)
      #expect(record.wakeAt == after(51), "the probe is repeated")
      #expect(record.handleProbe(state(6), at: after(2)) == .deliver(message()))
      #expect(record.principal == Principal("ann@kea"))
      #expect(take(&record, try packets(.request, 7)[0], at: after(3)) == .deliver(message()))
      // One that was probed before it was left needs no other probe.
      record = try processing()
      leave(&record)
      #expect(take(&record, try packets(.request, 6)[0], at: after(1)) == .deliver(message()))
    }
  }
}
