import Foundation
import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime

/// The seeds of one run: `V_SEEDS` of them, from `V_SEED` on; `V_SEED` alone is that one.
let seeds: [UInt64] = {
  let environment = ProcessInfo.processInfo.environment
  let first = environment["V_SEED"].flatMap { UInt64($0) }
  let count = environment["V_SEEDS"].flatMap { UInt64($0) } ?? (first == nil ? 20 : 1)
  return (0..<count).map { (first ?? 1) + $0 }
}()

/// A value that closures of one simulated thread share.
final class Shared<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}

/// Starts a server on `node` that counts how often each request, identified by its third word, is
/// executed, and answers with the request's segment reversed.
func startCounter(_ node: Node) -> (server: EntityID, executions: Shared<[UInt32: Int]>) {
  let executions = Shared<[UInt32: Int]>([:])
  let server = node.makeServer(knowsPrincipals: true) { [unowned node] request in
    executions.value[request.message.mcb[3], default: 0] += 1
    var mcb = MessageControlBlock()
    mcb[3] = request.message.mcb[3]
    node.reply(Message(mcb, segment: request.message.segment.reversed()), to: request)
  }
  return (server, executions)
}

/// Sends `count` requests one after another and calls `check` with each response.
func sendMany(
  _ count: Int, from node: Node, to server: EntityID, bytes: @escaping @Sendable (Int) -> Int,
  check: @escaping @Sendable (Int, [UInt8], Response) -> Void
) -> Shared<Int> {
  let done = Shared(0)
  let client = node.makeClient(user: "ann")
  @Sendable func next() {
    guard done.value < count else { return }
    var mcb = MessageControlBlock(code: 0x7701)
    mcb[3] = UInt32(done.value)
    let segment = (0..<bytes(done.value)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ done.value) }
    node.send(
      Message(mcb, segment: segment), from: client, to: server, options: SendOptions()
    ) { response in
      check(done.value, segment, response)
      done.value += 1
      next()
    }
  }
  next()
  return done
}

@Suite("Message transactions in the simulator")
struct TransactionTests {
  @Test("B1: a request and its response are two packets, once the client is known")
  func twoPackets() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, _) = startCounter(moa)
    let first = sendMany(1, from: kea, to: server, bytes: { _ in 0 }, check: { _, _, _ in })
    #expect(simulator.run(for: .seconds(1)) { first.value == 1 })
    let client = kea.makeClient(user: "ann")
    let answers = Shared(0)
    func ask() {
      kea.send(
        Message(MessageControlBlock(code: 0x7701)), from: client, to: server,
        options: SendOptions()
      ) { _ in answers.value += 1 }
    }
    ask()
    #expect(simulator.run(for: .seconds(1)) { answers.value == 1 })
    let before = simulator.packets
    ask()
    #expect(simulator.run(for: .seconds(1)) { answers.value == 2 })
    #expect(simulator.packets - before == 2)
  }

  @Test(
    "L10: every request is executed at most once and answered correctly, whatever the network does",
    arguments: seeds)
  func atMostOnce(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 30, duplication: 10, reordering: 20)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, executions) = startCounter(moa)
    let sizes = [0, 1, 511, 512, 513, 1024, 1025, 5000, 16_383, 16_384]
    let wrong = Shared(0)
    let answered = Shared<Set<UInt32>>([])
    // 10,000 of them, with all seeds.
    let count = 125
    let clients = (0..<4).map { _ in
      sendMany(count, from: kea, to: server, bytes: { sizes[$0 % sizes.count] }) {
        number, sent, got in
        guard got.code.isOK else { return }
        if got.message.mcb[3] != number || got.message.segment != sent.reversed() {
          wrong.value += 1
        }
        answered.value.insert(UInt32(number))
      }
    }
    let isDone = simulator.run(for: .seconds(300)) { clients.allSatisfy { $0.value == count } }
    #expect(isDone, "replay with V_SEED=\(seed)")
    #expect(wrong.value == 0, "replay with V_SEED=\(seed)")
    #expect(simulator.packetsLost > 0)
    // Four clients send the same numbers, each at most once.
    #expect(executions.value.values.allSatisfy { $0 <= 4 }, "replay with V_SEED=\(seed)")
    #expect(answered.value.count > 30)
  }

  @Test("L1, L2: one lost packet of any kind costs no second execution")
  func eachPacketLost() {
    for lost in 0..<8 {
      let simulator = Simulator(seed: 7)
      let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
      let (server, executions) = startCounter(moa)
      var count = 0
      simulator.dropsPacket = { _ in
        defer { count += 1 }
        return count == lost
      }
      let done = sendMany(
        3, from: kea, to: server, bytes: { _ in 700 },
        check: { _, sent, got in #expect(got.message.segment == sent.reversed()) })
      #expect(simulator.run(for: .seconds(5)) { done.value == 3 })
      #expect(executions.value == [0: 1, 1: 1, 2: 1], "packet \(lost) lost")
    }
  }

  @Test("equal seeds give equal runs, other seeds others")
  func repeatable() {
    func trace(_ seed: UInt64) -> [String] {
      let simulator = Simulator(seed: seed)
      simulator.keepsTrace = true
      simulator.faults = Faults(loss: 10, duplication: 10, reordering: 10)
      let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
      let (server, _) = startCounter(moa)
      let done = sendMany(20, from: kea, to: server, bytes: { $0 * 400 }, check: { _, _, _ in })
      simulator.run(for: .seconds(60)) { done.value == 20 }
      return simulator.trace
    }
    #expect(trace(3) == trace(3))
    #expect(trace(3) != trace(4))
  }

  @Test("sealed nodes of one key exchange messages, and no others")
  func sealed() {
    let simulator = Simulator(seed: 5)
    let key = [UInt8](repeating: 7, count: 32)
    let (kea, moa) = (simulator.start("kea", secret: key), simulator.start("moa", secret: key))
    let (server, _) = startCounter(moa)
    let done = sendMany(5, from: kea, to: server, bytes: { $0 * 3000 }) { _, sent, got in
      #expect(got.message.segment == sent.reversed())
    }
    #expect(simulator.run(for: .seconds(5)) { done.value == 5 })
    let tui = simulator.start("tui", secret: [UInt8](repeating: 8, count: 32))
    let refused = Shared<ReplyCode?>(nil)
    tui.send(
      Message(MessageControlBlock(code: 1)), from: tui.makeClient(user: "eve"), to: server,
      options: SendOptions()
    ) { refused.value = $0.code }
    simulator.run(for: .seconds(5)) { refused.value != nil }
    #expect(refused.value == .retransmissionTimeout)
    #expect(simulator.machines[1].refused.contains(.badSeal))
  }

  @Test("a duplicated sealed packet is refused by its number")
  func replayed() {
    let simulator = Simulator(seed: 6)
    simulator.faults = Faults(duplication: 100)
    let key = [UInt8](repeating: 7, count: 32)
    let (kea, moa) = (simulator.start("kea", secret: key), simulator.start("moa", secret: key))
    let (server, executions) = startCounter(moa)
    let done = sendMany(5, from: kea, to: server, bytes: { _ in 9 }, check: { _, _, _ in })
    #expect(simulator.run(for: .seconds(5)) { done.value == 5 })
    #expect(executions.value.values.allSatisfy { $0 == 1 })
    #expect(simulator.machines[1].refused.contains(.replayed))
  }
}

@Suite("Peers in the simulator")
struct PeerTests {
  @Test("L9, C2: a transaction to a host that fell silent ends after exactly 2.0 s")
  func silence() {
    let simulator = Simulator(seed: 9)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, _) = startCounter(moa)
    let warm = sendMany(1, from: kea, to: server, bytes: { _ in 0 }, check: { _, _, _ in })
    simulator.run(for: .seconds(1)) { warm.value == 1 }
    simulator.run(for: .seconds(3))
    simulator.crash("moa")
    let codes = Shared<[ReplyCode]>([])
    let start = simulator.now
    let client = kea.makeClient(user: "ann")
    func ask() {
      kea.send(
        Message(MessageControlBlock(code: 1)), from: client, to: server, options: SendOptions()
      ) { codes.value.append($0.code) }
    }
    ask()
    simulator.run(for: .seconds(10)) { codes.value.count == 1 }
    #expect(codes.value == [.retransmissionTimeout])
    #expect(simulator.now - start == .seconds(2))
    let second = simulator.now
    ask()
    #expect(codes.value.count == 2, "a host known to be silent refuses at once")
    #expect(simulator.now == second)
  }

  @Test("C7: a long call goes on while the server's kernel answers")
  func longCall() {
    let simulator = Simulator(seed: 10)
    simulator.faults.loss = 20
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let executions = Shared(0)
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      executions.value += 1
      moa.after(.seconds(60)) { moa.reply(Message(reply: .endOfFile), to: request) }
    }
    let code = Shared<ReplyCode?>(nil)
    kea.send(
      Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: server,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(70)) { code.value != nil }
    #expect(code.value == .endOfFile)
    #expect(executions.value == 1)
  }

  @Test("I3, C1: the code for an ended server promises that nothing was done only if that is true")
  func serverEnds() {
    let simulator = Simulator(seed: 12)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let executions = Shared(0)
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      executions.value += 1
      moa.reply(Message(reply: .ok), to: request)
    }
    func ask(_ completion: @escaping @Sendable (ReplyCode) -> Void) {
      kea.send(
        Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: server,
        options: SendOptions()
      ) { completion($0.code) }
    }
    #expect(outcome(simulator, ask) == ReplyCode.ok)
    // The response is lost, and the server ends before the request is repeated.
    let code = Shared<ReplyCode?>(nil)
    ask { code.value = $0 }
    simulator.dropsPacket = { _ in executions.value == 2 }
    simulator.run(for: .seconds(1)) { executions.value == 2 }
    simulator.run(for: .microseconds(50))
    simulator.dropsPacket = nil
    moa.retire(server)
    simulator.run(for: .seconds(5)) { code.value != nil }
    #expect(code.value == .outcomeUnknown)
    #expect(outcome(simulator, ask) == ReplyCode.nonexistentEntity)
    #expect(executions.value == 2)
  }

  @Test(
    "C3: a reboot ends unanswered transactions of the earlier boot, and executes nothing again",
    arguments: [true, false])
  func reboot(isAnnounced: Bool) {
    let simulator = Simulator(seed: 11)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let server = moa.makeServer(knowsPrincipals: true) { _ in }
    let code = Shared<ReplyCode?>(nil)
    let start = simulator.now
    kea.send(
      Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: server,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .milliseconds(500))
    simulator.crash("moa")
    let second = simulator.start("moa")
    if isAnnounced { second.announce() }
    simulator.run(for: .seconds(5)) { code.value != nil }
    #expect(code.value == .outcomeUnknown)
    // Without an announcement the next retransmission finds out.
    #expect(simulator.now - start < .seconds(1))
    // Later requests to the earlier boot end at once.
    let later = simulator.now
    code.value = nil
    kea.send(
      Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: server,
      options: SendOptions()
    ) { code.value = $0.code }
    #expect(code.value == .nonexistentEntity)
    #expect(simulator.now == later)
  }
}
