import NetworkFaults
import Testing
import VKernel
import VNode
import VProtocol
import VRuntime

/// The header of a clear packet.
func header(of packet: [UInt8]) -> PacketHeader? {
  try? PacketHeader(parsing: packet.span.bytes, bodyBytes: packet.count - Checksum.byteCount)
}

/// The code of a notification about a request, if a packet is one.
func notification(in packet: [UInt8]) -> ReplyCode? {
  guard let header = header(of: packet), header.mcb.code == Management.notifyClient
  else { return nil }
  return NotifyClient(parsing: header.mcb).code
}

/// Two hosts that know each other: a client of kea, and a server of moa whose responses have as
/// many octets as word 4 of the request says.
private struct Pair {
  let simulator: Simulator
  let kea: Node
  let moa: Node
  let server: EntityID
  let client: EntityID
  let executions = Shared(0)

  init(
    seed: UInt64 = 1, isIdempotent: Bool = false, takes span: TimeSpan = TimeSpan(nanoseconds: 0)
  ) {
    simulator = Simulator(seed: seed)
    kea = simulator.start("kea")
    moa = simulator.start("moa")
    let executions = executions
    server = moa.makeServer(knowsPrincipals: !isIdempotent) { [unowned moa] request in
      executions.value += 1
      var mcb = MessageControlBlock()
      mcb[3] = UInt32(executions.value)
      let answer = Message(mcb, segment: Self.octets(Int(request.message.mcb[4])))
      if span.nanoseconds == 0 { return moa.reply(answer, to: request) }
      moa.after(span) { moa.reply(answer, to: request) }
    }
    client = kea.makeClient(user: "ann")
    #expect(ask()?.code == .ok)
    executions.value = 0
  }

  static func octets(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
  }

  /// One call with a segment each way.
  func ask(_ sent: Int = 0, answer: Int = 0, of other: EntityID? = nil) -> Response? {
    outcome(simulator) { completion in
      var mcb = MessageControlBlock(code: 0x7701)
      mcb[4] = UInt32(answer)
      kea.send(
        Message(mcb, segment: Self.octets(sent)), from: client, to: other ?? server,
        options: SendOptions(), completion: completion)
    }
  }

  /// How often each packet of the request or of the response of 16 KB was sent, if of the first
  /// transmission the packets in `lost` are lost.
  func counts(_ function: PacketFunction, losing lost: UInt32) throws -> [Int] {
    let counts = Shared([Int](repeating: 0, count: 16))
    simulator.dropsPacket = { packet in
      guard let header = header(of: packet), header.function == function, header.client == client,
        !header.delivery.isEmpty
      else { return false }
      let index = header.delivery.rawValue.trailingZeroBitCount / 2
      counts.value[index] += 1
      return counts.value[index] == 1 && lost >> UInt32(index) & 1 == 1
    }
    let executed = executions.value
    let response = try #require(function == .request ? ask(16_384) : ask(answer: 16_384))
    simulator.dropsPacket = nil
    #expect(response.code == .ok)
    #expect(response.message.segment.count == (function == .request ? 0 : 16_384))
    #expect(executions.value == executed + 1, "\(lost)")
    return counts.value
  }
}

@Suite("Lost and doubled packets in the simulator")
struct LossTests {
  /// Each packet, all but each, each beginning, each end, and many others of the 65,536 subsets.
  private static let subsets: [UInt32] = {
    var generator = SeededGenerator(seed: 1)
    let shaped = (0..<16).flatMap { index -> [UInt32] in
      let bit: UInt32 = 1 << index
      return [bit, 0xFFFF ^ bit, bit - 1, 0xFFFF ^ (bit - 1)]
    }
    return shaped + (0..<100).map { _ in UInt32(truncatingIfNeeded: generator.next()) & 0xFFFF }
  }()

  @Test(
    "L4: any packets of a 16 KB request are lost: only these are sent again, and it is done once")
  func requestPackets() throws {
    try expectOnlyLostAreRepeated(.request)
  }

  @Test("L5: any packets of a kept 16 KB response are lost: only these are sent again")
  func responsePackets() throws {
    try expectOnlyLostAreRepeated(.response)
  }

  private func expectOnlyLostAreRepeated(_ function: PacketFunction) throws {
    let pair = Pair()
    for lost in Self.subsets {
      for (index, count) in try pair.counts(function, losing: lost).enumerated() {
        let isLost = lost >> UInt32(index) & 1 == 1
        #expect(isLost ? count > 1 : count == 1, "packet \(index) of \(lost) was sent \(count)x")
      }
    }
  }

  @Test("L3: an idempotent server executes again if its response is lost, and the last one counts")
  func idempotentResponse() {
    let pair = Pair(isIdempotent: true)
    let lost = Shared(0)
    pair.simulator.dropsPacket = { packet in
      guard header(of: packet)?.function == .response else { return false }
      lost.value += 1
      return lost.value == 1
    }
    #expect(pair.ask(700)?.message.mcb[3] == 2)
    #expect(pair.executions.value == 2)
  }

  @Test("L7: a lost RETRY or OK is sent again, and the call has its result")
  func notifications() {
    for (code, sent, pair) in [
      (ReplyCode.retry, 3000, Pair(seed: 2)), (.ok, 0, Pair(seed: 3, takes: .milliseconds(600))),
    ] {
      let (told, requests) = (Shared(0), Shared(0))
      pair.simulator.dropsPacket = { packet in
        if notification(in: packet) == code {
          told.value += 1
          return told.value == 1
        }
        guard sent > 0, header(of: packet)?.client == pair.client else { return false }
        requests.value += 1
        return requests.value == 1
      }
      #expect(pair.ask(sent)?.code == .ok)
      #expect(told.value >= 2, "\(code)")
      #expect(pair.executions.value == 1, "\(code)")
    }
  }

  @Test("L8: the header of a lost request, sent again, is answered with RETRY at once")
  func headerAlone() {
    let pair = Pair(seed: 4)
    let asked = Shared<Time?>(nil)
    let told = Shared<Time?>(nil)
    let missing = Shared<DeliveryMask?>(nil)
    pair.simulator.dropsPacket = { packet in
      guard let header = header(of: packet) else { return false }
      if header.client == pair.client, header.function == .request {
        if header.retransmitCount == 0 { return true }
        if asked.value == nil { asked.value = pair.simulator.now }
      }
      if notification(in: packet) == .retry, told.value == nil {
        told.value = pair.simulator.now
        missing.value = NotifyClient(parsing: header.mcb).delivery
      }
      return false
    }
    #expect(pair.ask(16_384)?.code == .ok)
    #expect(missing.value == [])
    // On the way for at most 40 us.
    #expect(told.value! - asked.value! <= .microseconds(40))
    #expect(pair.executions.value == 1)
  }

  @Test("B2, B5: calls with 16 KB each way cost 16 and 16 packets, and no notification")
  func largeCalls() {
    let pair = Pair(seed: 5)
    let before = pair.simulator.packets
    for _ in 0..<5 {
      let response = pair.ask(16_384, answer: 16_384)
      #expect(response?.message.segment == Pair.octets(16_384))
    }
    #expect(pair.simulator.packets - before == 5 * 32)
    #expect(pair.kea.counters.notifiesSent + pair.moa.counters.notifiesSent == 1, "of the begin")
  }

  @Test("B4: a call to a server of the same host costs no packet")
  func localServer() {
    let pair = Pair(seed: 6)
    let here = pair.kea.makeServer(knowsPrincipals: true) { [unowned kea = pair.kea] request in
      kea.reply(request.message, to: request)
    }
    let before = pair.simulator.packets
    #expect(pair.ask(16_384, of: here)?.message.segment == Pair.octets(16_384))
    #expect(pair.simulator.packets == before)
  }

  @Test("R2: every packet twice: each call is done once and answered once, with no more packets")
  func everyPacketTwice() {
    func sent(_ faults: Faults) -> Int {
      let pair = Pair(seed: 7)
      pair.simulator.faults = faults
      let before = pair.simulator.packets
      for index in 0..<20 {
        let response = pair.ask(index * 400, answer: 8000 - index * 400)
        #expect(response?.message.segment == Pair.octets(8000 - index * 400))
        #expect(response?.message.mcb[3] == UInt32(index + 1))
      }
      #expect(pair.executions.value == 20)
      return pair.simulator.packets - before
    }
    #expect(sent(Faults(duplication: 100)) == sent(Faults()))
  }
}
