import Testing
import VProtocol
import VTransport

/// A client's transaction 5 in each state of its diagram.
///
/// Before any sample a repetition waits for 50 ms.
@Suite("Client transaction")
struct ClientTransactionTests {
  static let id: UInt32 = 5

  private func begin(
    segment: Int = 0, to target: EntityID = server, limit: TimeSpan? = nil
  ) -> ClientTransaction {
    ClientTransaction(
      id: TransactionID(Self.id), server: target,
      route: target.isGroup ? .multicast : .peer(kernelN), request: message(segment: segment),
      limit: limit.map { start + $0 }, at: start, roundTrip: RoundTrip())
  }

  private func after(_ milliseconds: Int64) -> Time { start + .milliseconds(milliseconds) }

  /// With a count of 7, which no test reaches, it gives no sample.
  private func notify(
    _ code: ReplyCode, _ mask: UInt32 = 0, retransmitCount: UInt8 = 7
  ) -> NotifyClient {
    NotifyClient(
      client: client, transaction: TransactionID(Self.id),
      delivery: DeliveryMask(rawValue: mask), code: code, retransmitCount: retransmitCount)
  }

  private func tell(
    _ transaction: inout ClientTransaction, _ notify: NotifyClient, at now: Time
  ) -> ClientTransaction.Action {
    var roundTrip = RoundTrip()
    return transaction.handleNotify(notify, at: now, roundTrip: &roundTrip)
  }

  private func take(
    _ transaction: inout ClientTransaction, _ packet: Packet, at now: Time
  ) -> ClientTransaction.Action {
    var roundTrip = RoundTrip()
    return transaction.handleResponse(
      packet.header, packet.bytes.span.bytes, at: now, roundTrip: &roundTrip)
  }

  private func timeOut(
    _ transaction: inout ClientTransaction, at now: Time
  ) -> ClientTransaction.Action {
    transaction.handleTimeout(at: now, roundTrip: RoundTrip())
  }

  // MARK: awaiting response

  @Test("awaiting: nothing is due before its first deadline")
  func awaitingEarly() {
    var transaction = begin()
    #expect(transaction.repeatAt == after(50))
    #expect(timeOut(&transaction, at: after(49)) == .nothing)
    #expect(transaction.retransmitCount == 0)
  }

  @Test("L1, L9: awaiting: silence repeats the header alone, with APG, doubling up to 100 ms")
  func awaitingTimeout() {
    var transaction = begin(segment: 3000)
    var gaps: [Int64] = []
    var last = start
    for attempt in 1...12 {
      let now = transaction.repeatAt
      gaps.append((now - last).nanoseconds / 1_000_000)
      last = now
      #expect(timeOut(&transaction, at: now) == .transmit([], acknowledge: true))
      #expect(transaction.retransmitCount == UInt8((attempt - 1) % 7 + 1), "never 0 again")
      #expect(transaction.transmittedAt == now)
    }
    #expect(gaps == [50] + Array(repeating: 100, count: 11))
  }

  @Test("awaiting: no number of repetitions ends it")
  func awaitingForever() {
    var transaction = begin()
    for _ in 0..<10_000 {
      #expect(
        timeOut(&transaction, at: transaction.repeatAt) == .transmit([], acknowledge: true))
    }
  }

  @Test("awaiting: the user's time limit ends it, even between repetitions")
  func awaitingLimit() {
    var transaction = begin(limit: .milliseconds(70))
    #expect(timeOut(&transaction, at: after(50)) == .transmit([], acknowledge: true))
    #expect(timeOut(&transaction, at: after(69)) == .nothing)
    #expect(timeOut(&transaction, at: after(70)) == .fail(.userTimeout))
  }

  @Test("awaiting: a whole response completes it", arguments: [0, 1, 512, 1024])
  func awaitingWhole(size: Int) throws {
    var transaction = begin()
    let packet = try packets(.response, Self.id, segment: size)[0]
    #expect(transaction.responder == nil)
    #expect(
      take(&transaction, packet, at: after(1))
        == .complete(message(segment: size), server: server))
  }

  @Test("awaiting: a part of a response waits 1 ms for the rest, 250 us if there is a hole")
  func awaitingPart() throws {
    let packets = try packets(.response, Self.id, segment: 3000)
    var transaction = begin()
    #expect(take(&transaction, packets[0], at: after(1)) == .nothing)
    #expect(transaction.responder == server)
    #expect(transaction.repeatAt == after(2))
    transaction = begin()
    #expect(take(&transaction, packets[1], at: after(1)) == .nothing)
    #expect(transaction.repeatAt == after(1) + .microseconds(250))
  }

  @Test("C7: awaiting: OK means that the server works; it is asked again after doubling times")
  func awaitingOK() {
    var transaction = begin()
    #expect(timeOut(&transaction, at: after(50)) == .transmit([], acknowledge: true))
    #expect(tell(&transaction, notify(.ok), at: after(60)) == .nothing)
    #expect(transaction.repeatAt == after(60 + 100))
    #expect(tell(&transaction, notify(.ok), at: after(60)) == .nothing)
    #expect(transaction.repeatAt == after(60 + 200))
    for _ in 0..<100 { #expect(tell(&transaction, notify(.ok), at: after(60)) == .nothing) }
    #expect(transaction.repeatAt == after(60 + 500), "at most 500 ms")
  }

  @Test("L4: awaiting: RETRY sends what is missing, and only that")
  func awaitingRetry() {
    for mask: UInt32 in 0..<64 {
      var transaction = begin(segment: 3000)
      let missing = DeliveryMask(rawValue: 0b111111 & ~mask)
      #expect(
        tell(&transaction, notify(.retry, mask), at: after(3))
          == .transmit(missing, acknowledge: false))
      #expect(transaction.retransmitCount == 1)
      #expect(transaction.repeatAt == after(53))
    }
  }

  @Test("awaiting: RETRY_ALL sends everything")
  func awaitingRetryAll() {
    var transaction = begin(segment: 3000)
    #expect(
      tell(&transaction, notify(.retryAll, 0b11), at: after(3))
        == .transmit(transaction.request.blocks, acknowledge: false))
    #expect(transaction.request.blocks.rawValue == 0b111111)
  }

  @Test("awaiting: BUSY waits, then asks with the header alone")
  func awaitingBusy() {
    var transaction = begin(segment: 3000)
    #expect(tell(&transaction, notify(.busy), at: after(3)) == .nothing)
    #expect(transaction.repeatAt == after(3 + 100))
    #expect(
      timeOut(&transaction, at: transaction.repeatAt) == .transmit([], acknowledge: true))
  }

  @Test("O6: the user's time limit ends it on time, however often the server is BUSY")
  func busyLimit() {
    var transaction = begin(limit: .seconds(3))
    for time: Int64 in stride(from: 10, to: 3000, by: 10) {
      #expect(tell(&transaction, notify(.busy), at: after(time)) == .nothing)
    }
    #expect(transaction.repeatAt > after(3000))
    #expect(timeOut(&transaction, at: after(2999)) == .nothing)
    #expect(timeOut(&transaction, at: after(3000)) == .fail(.userTimeout))
  }

  @Test(
    "awaiting: any other code ends it",
    arguments: [
      ReplyCode.nonexistentEntity, .responseDiscarded, .badTransactionID, .vmtpError,
      ReplyCode(rawValue: 63),
    ])
  func awaitingError(code: ReplyCode) {
    var transaction = begin()
    #expect(tell(&transaction, notify(code), at: after(3)) == .fail(code))
  }

  @Test("awaiting: once the server's kernel is found the whole request goes there")
  func awaitingLocated() {
    var transaction = begin(segment: 600)
    #expect(
      transaction.sendAnew(at: after(9), roundTrip: RoundTrip())
        == .transmit(DeliveryMask(rawValue: 0b11), acknowledge: false))
    #expect(transaction.repeatAt == after(59))
    #expect(transaction.transmittedAt == after(9))
  }

  @Test("awaiting: a sign of the server starts the doubling again")
  func awaitingHeard() {
    var transaction = begin()
    for _ in 0..<5 { _ = timeOut(&transaction, at: transaction.repeatAt) }
    let now = transaction.repeatAt
    #expect(tell(&transaction, notify(.retry), at: now) == .transmit([], acknowledge: false))
    #expect(transaction.repeatAt == now + .milliseconds(50))
  }

  // MARK: receiving response

  @Test("R1: receiving: the last packet completes it, in every order")
  func receiving() throws {
    let packets = try packets(.response, Self.id, segment: 2100)
    #expect(packets.count == 3)
    for order in permutations(3) {
      var transaction = begin()
      #expect(take(&transaction, packets[order[0]], at: after(1)) == .nothing)
      #expect(take(&transaction, packets[order[1]], at: after(2)) == .nothing)
      #expect(take(&transaction, packets[order[0]], at: after(2)) == .nothing)
      #expect(
        take(&transaction, packets[order[2]], at: after(3))
          == .complete(message(segment: 2100), server: server))
    }
  }

  @Test("receiving: time asks for what is missing three times, then for all of it anew")
  func receivingTimeout() throws {
    let packets = try packets(.response, Self.id, segment: 2100)
    var transaction = begin(segment: 700)
    _ = take(&transaction, packets[1], at: after(1))
    for _ in 0..<3 {
      let now = transaction.repeatAt
      #expect(timeOut(&transaction, at: now) == .notifyServer(packets[1].header.delivery, .retry))
      #expect(transaction.repeatAt == now + .milliseconds(50), "not before a round trip")
    }
    #expect(transaction.retransmitCount == 0)
    // A server that kept its response has long repeated it; another one works again.
    #expect(
      timeOut(&transaction, at: transaction.repeatAt) == .transmit([], acknowledge: true))
    for packet in packets.dropLast() { _ = take(&transaction, packet, at: transaction.repeatAt) }
    #expect(
      take(&transaction, packets.last!, at: transaction.repeatAt)
        == .complete(message(segment: 2100), server: server))
  }

  @Test("receiving: the user's time limit holds here as well")
  func receivingLimit() throws {
    var transaction = begin(limit: .milliseconds(3))
    _ = take(&transaction, try packets(.response, Self.id, segment: 2100)[0], at: after(1))
    #expect(timeOut(&transaction, at: after(3)) == .fail(.userTimeout))
  }

  @Test("receiving: notifications about the request come too late to matter")
  func receivingNotify() throws {
    for code in [ReplyCode.ok, .retry, .retryAll, .busy, .nonexistentEntity] {
      var transaction = begin(segment: 700)
      _ = take(&transaction, try packets(.response, Self.id, segment: 2100)[0], at: after(1))
      let due = transaction.repeatAt
      #expect(tell(&transaction, notify(code), at: after(1)) == .nothing)
      #expect(transaction.repeatAt == due)
    }
  }

  @Test("R8: receiving: a packet that does not belong to the group changes nothing")
  func receivingMismatch() throws {
    let (good, other) = (
      try packets(.response, Self.id, segment: 2100),
      try packets(.response, Self.id, segment: 2100, code: 0x7702)
    )
    var transaction = begin()
    #expect(take(&transaction, good[0], at: after(1)) == .nothing)
    #expect(take(&transaction, other[1], at: after(1)) == .nothing)
    #expect(take(&transaction, good[1], at: after(1)) == .nothing)
    #expect(
      take(&transaction, good[2], at: after(1))
        == .complete(message(segment: 2100), server: server))
  }

  @Test("receiving: of a group's members the one whose response is whole first wins")
  func receivingGroup() throws {
    let other = EntityID(kernel: KernelID(99), discriminator: 20)
    var transaction = begin(to: group)
    _ = take(&transaction, try packets(.response, Self.id, segment: 2100)[0], at: after(1))
    #expect(transaction.responder == server)
    let whole = try packets(.response, Self.id, segment: 8, from: other)[0]
    #expect(
      take(&transaction, whole, at: after(1))
        == .complete(message(segment: 8), server: other))
  }

  // MARK: collecting the responses of a group

  private func collecting() -> ClientTransaction {
    ClientTransaction(
      id: TransactionID(Self.id), server: group, request: message(), limit: after(2000),
      collects: true, at: start, roundTrip: RoundTrip())
  }

  @Test("R7: collecting: each member's response counts once, however often it comes")
  func collectingOnce() throws {
    var transaction = collecting()
    for member: UInt32 in 20..<30 {
      let entity = EntityID(kernel: KernelID(member), discriminator: 20)
      let packet = try packets(.response, Self.id, segment: 9, from: entity)[0]
      #expect(
        take(&transaction, packet, at: after(1)) == .collect(message(segment: 9), server: entity))
      #expect(take(&transaction, packet, at: after(1)) == .nothing)
      #expect(transaction.handleLocalResponse(message(), by: entity) == .nothing)
    }
    #expect(
      transaction.handleLocalResponse(message(), by: server)
        == .collect(message(), server: server))
  }

  @Test("collecting: the request is repeated to the limit, whichever members answered")
  func collectingRepeats() throws {
    var transaction = collecting()
    _ = transaction.handleLocalResponse(message(), by: server)
    func wakes(_ milliseconds: Int64) -> ClientTransaction.Action {
      transaction.handleTimeout(at: after(milliseconds), roundTrip: RoundTrip())
    }
    #expect(wakes(500) == .transmit([], acknowledge: true))
    let entity = EntityID(kernel: KernelID(20), discriminator: 20)
    let packet = try packets(.response, Self.id, segment: 9, from: entity)[0]
    #expect(take(&transaction, packet, at: after(600)) != .nothing)
    #expect(wakes(1500) == .transmit([], acknowledge: true))
    #expect(wakes(2000) == .fail(.userTimeout))
  }

  @Test("collecting: responses of several packets may come interleaved")
  func collectingInterleaved() throws {
    var transaction = collecting()
    let members = (20..<23).map { EntityID(kernel: KernelID($0), discriminator: 20) }
    let all = try members.map { try packets(.response, Self.id, segment: 2100, from: $0) }
    for index in 0..<2 {
      for packets in all { #expect(take(&transaction, packets[index], at: after(1)) == .nothing) }
    }
    for (member, packets) in zip(members, all) {
      #expect(
        take(&transaction, packets[2], at: after(1))
          == .collect(message(segment: 2100), server: member))
    }
  }

  @Test("collecting: the request is repeated from the start, and ends with its limit")
  func collectingTimeout() throws {
    var transaction = collecting()
    #expect(timeOut(&transaction, at: after(10)) == .transmit([], acknowledge: true))
    _ = take(&transaction, try packets(.response, Self.id)[0], at: after(60))
    #expect(timeOut(&transaction, at: after(1000)) == .transmit([], acknowledge: true))
    #expect(timeOut(&transaction, at: after(2000)) == .fail(.userTimeout))
  }

  @Test("a local response completes a transaction that does not collect")
  func localResponse() {
    var transaction = begin()
    #expect(
      transaction.handleLocalResponse(message(segment: 9), by: server)
        == .complete(message(segment: 9), server: server))
  }

  // MARK: which packets are for it

  @Test("R5: only its own transaction and its own server answer it, unless it was forwarded")
  func answered() throws {
    let other = EntityID(kernel: kernelN, discriminator: 99)
    func header(_ id: UInt32, _ from: EntityID, _ forwards: UInt8) throws -> PacketHeader {
      try packets(.response, id, from: from, forwardCount: forwards)[0].header
    }
    let single = begin()
    #expect(single.isAnswered(by: try header(5, server, 0)))
    #expect(!single.isAnswered(by: try header(4, server, 0)))
    #expect(!single.isAnswered(by: try header(6, server, 0)))
    #expect(!single.isAnswered(by: try header(5, other, 0)))
    #expect(single.isAnswered(by: try header(5, other, 1)))
    #expect(begin(to: group).isAnswered(by: try header(5, other, 0)))
  }

  // MARK: samples

  @Test("an answer is a sample only if it repeats the count of the last transmission")
  func samples() throws {
    var roundTrip = RoundTrip()
    var transaction = begin()
    _ = timeOut(&transaction, at: after(50))
    _ = transaction.handleNotify(
      notify(.ok, retransmitCount: 0), at: after(51), roundTrip: &roundTrip)
    #expect(roundTrip.smoothed == nil, "answers the first transmission")
    _ = transaction.handleNotify(
      notify(.ok, retransmitCount: 1), at: after(53), roundTrip: &roundTrip)
    #expect(roundTrip.smoothed == .milliseconds(3))
    var fresh = RoundTrip()
    let packet = try packets(.response, Self.id, retransmitCount: 1)[0]
    _ = transaction.handleResponse(
      packet.header, packet.bytes.span.bytes, at: after(57), roundTrip: &fresh)
    #expect(fresh.smoothed == .milliseconds(7))
  }
}
