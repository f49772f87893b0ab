import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

/// Days on which a host sleeps, a direction is lost, an address changes, or packets are copied.
@Suite("Bad days")
struct BadDayTests {
  private static let hello = MessageControlBlock(code: 0x7701)

  private static func numbered(_ number: UInt32) -> MessageControlBlock {
    var mcb = hello
    mcb[3] = number
    return mcb
  }

  /// Two nodes, a server on moa that has answered a client of kea, and that client.
  private struct Pair {
    let simulator: Simulator
    let kea: Node
    let moa: Node
    let server: EntityID
    let client: EntityID
    let executions: Shared<[UInt32: Int]>

    init(seed: UInt64, secret: [UInt8]? = nil) {
      simulator = Simulator(seed: seed)
      kea = simulator.start("kea", secret: secret)
      moa = simulator.start("moa", secret: secret)
      (server, executions) = startCounter(moa)
      client = kea.makeClient(user: "ann")
      #expect(ask(0) == .ok)
    }

    /// One request, numbered, and the code of its end.
    func ask(
      _ number: UInt32, of other: EntityID? = nil, within limit: TimeSpan = .seconds(10)
    ) -> ReplyCode? {
      let code = start(number, of: other)
      simulator.run(for: limit) { code.value != nil }
      return code.value
    }

    func start(_ number: UInt32, of other: EntityID? = nil) -> Shared<ReplyCode?> {
      let code = Shared<ReplyCode?>(nil)
      kea.send(
        Message(BadDayTests.numbered(number)), from: client, to: other ?? server,
        options: SendOptions()
      ) { code.value = $0.code }
      return code
    }
  }

  // MARK: a host sleeps

  @Test("what a host had asked for before it slept is done once, however long it sleeps")
  func sleepingClient() {
    for seconds: Int64 in [1, 4, 8, 9, 10, 11, 12, 15, 20, 60, 4000] {
      let pair = Pair(seed: UInt64(seconds))
      // The response is lost, and the client's host sleeps before it has asked again.
      pair.simulator.loseAll(from: "moa", to: "kea")
      let code = pair.start(1)
      pair.simulator.run(for: .seconds(1)) { pair.executions.value[1] == 1 }
      pair.simulator.machine("kea").sleep()
      pair.simulator.heal()
      pair.simulator.run(for: .seconds(seconds))
      pair.simulator.machine("kea").wakeUp()
      pair.simulator.run(for: .seconds(10)) { code.value != nil }
      #expect(code.value == .ok || code.value == .outcomeUnknown, "\(seconds) s")
      #expect(pair.executions.value[1] == 1, "\(seconds) s")
      #expect(pair.ask(2) == .ok, "\(seconds) s")
    }
  }

  @Test("that a server has ended says nothing about a request from before the client's host slept")
  func sleepingClientOfEndedServer() {
    let pair = Pair(seed: 21)
    pair.simulator.loseAll(from: "moa", to: "kea")
    let code = pair.start(1)
    pair.simulator.run(for: .seconds(1)) { pair.executions.value[1] == 1 }
    pair.simulator.machine("kea").sleep()
    pair.simulator.heal()
    pair.moa.retire(pair.server)
    pair.simulator.run(for: .seconds(60))
    pair.simulator.machine("kea").wakeUp()
    pair.simulator.run(for: .seconds(10)) { code.value != nil }
    #expect(code.value == .outcomeUnknown)
  }

  @Test("a host that wakes up asks again before it takes another for down")
  func patience() {
    let pair = Pair(seed: 10)
    let held = Shared<[Request]>([])
    let slow = pair.moa.makeServer(knowsPrincipals: true) { held.value.append($0) }
    let code = pair.start(1, of: slow)
    pair.simulator.run(for: .seconds(1)) { held.value.count == 1 }
    // Long enough for silence, and too short for the server to forget it.
    pair.simulator.machine("kea").sleep(countingSleep: true)
    pair.simulator.run(for: .seconds(6))
    pair.simulator.machine("kea").wakeUp()
    pair.simulator.run(for: .seconds(1))
    #expect(code.value == nil && held.value.count == 1)
    pair.moa.reply(Message(reply: .ok), to: held.value[0])
    pair.simulator.run(for: .seconds(1)) { code.value != nil }
    #expect(code.value == .ok)
  }

  @Test("nothing is done twice where hosts sleep at any time, in a bad network", arguments: seeds)
  func sleepingHosts(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, executions) = startCounter(moa)
    simulator.faults = Faults(loss: 20, duplication: 5, reordering: 10)
    let clients = (0..<4).map { _ in
      sendMany(60, from: kea, to: server, bytes: { $0 * 40 }, check: { _, _, _ in })
    }
    for _ in 0..<12 {
      simulator.run(for: .milliseconds(Int64(simulator.random() % 80)))
      let host = simulator.random() % 4 == 0 ? "moa" : "kea"
      simulator.machine(host).sleep()
      simulator.run(for: .milliseconds(Int64(simulator.random() % 25_000)))
      simulator.machine(host).wakeUp()
    }
    #expect(simulator.run(for: .seconds(300)) { clients.allSatisfy { $0.value == 60 } })
    #expect(executions.value.values.allSatisfy { $0 <= 4 }, "replay with V_SEED=\(seed)")
  }

  @Test("the first request after idle time is answered, although every fifth packet is lost")
  func idle() {
    let pair = Pair(seed: 11)
    pair.simulator.faults.loss = 20
    var codes: [ReplyCode?] = []
    for number: UInt32 in 1...200 {
      // Below, at and above the times at which clients and servers forget each other.
      pair.simulator.run(for: .milliseconds(Int64(number % 20) * 900))
      codes.append(pair.ask(number))
    }
    #expect(codes.allSatisfy { $0 == .ok })
    #expect(pair.executions.value.values.allSatisfy { $0 == 1 })
  }

  @Test("a client of a server without records keeps its record for the others")
  func idleBesideIdempotent() {
    let pair = Pair(seed: 12)
    let moa = pair.moa
    let other = moa.makeServer(knowsPrincipals: false) { [unowned moa] request in
      moa.reply(Message(reply: .ok), to: request)
    }
    for _ in 0..<5 {
      pair.simulator.run(for: .seconds(4))
      #expect(pair.ask(0, of: other) == .ok)
    }
    // The first packet of the request is lost.
    pair.simulator.run(for: .seconds(4))
    let lost = Shared(0)
    pair.simulator.dropsPacket = { _ in
      lost.value += 1
      return lost.value == 1
    }
    #expect(pair.ask(1) == .ok)
  }

  @Test("an exchange with the members of a group, or with a manager, makes no record of the client")
  func idleBesideGroup() {
    let pair = Pair(seed: 20)
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    pair.moa.join(pair.server, group: group)
    var near = Self.hello
    near.flags = .coResident
    near.coResident = .manager(of: pair.moa.id)
    let manager = EntityID.manager(of: pair.moa.id)
    for (message, target) in [
      (Message(near), group), (ProbeEntity(pair.server).message, manager),
    ] {
      pair.simulator.run(for: .seconds(30))
      let code = Shared<ReplyCode?>(nil)
      pair.kea.send(message, from: pair.client, to: target, options: SendOptions()) {
        code.value = $0.code
      }
      pair.simulator.run(for: .seconds(1)) { code.value != nil }
      #expect(code.value == .ok)
      // The first packet of the next request is lost.
      let lost = Shared(0)
      pair.simulator.dropsPacket = { _ in
        lost.value += 1
        return lost.value == 1
      }
      #expect(pair.ask(UInt32(lost.value + 1)) == .ok)
      pair.simulator.dropsPacket = nil
    }
  }

  @Test("O1: without room for another record a request waits, and is done once there is room")
  func busy() {
    let simulator = Simulator(seed: 13)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let held = Shared<[Request]>([])
    let server = moa.makeServer(knowsPrincipals: true) { held.value.append($0) }
    let codes = Shared<[ReplyCode]>([])
    let count = 6144 + 20
    for _ in 0..<count {
      kea.send(
        Message(Self.hello), from: kea.makeClient(user: "ann"), to: server, options: SendOptions()
      ) { codes.value.append($0.code) }
    }
    simulator.run(for: .seconds(20))
    #expect(held.value.count == 6144 && codes.value.isEmpty)
    for request in held.value { moa.reply(Message(reply: .ok), to: request) }
    simulator.run(for: .seconds(60)) { held.value.count == count }
    #expect(held.value.count == count, "each was done, and once")
    for request in held.value[6144...] { moa.reply(Message(reply: .ok), to: request) }
    simulator.run(for: .seconds(10)) { codes.value.count == count }
    #expect(codes.value.count == count && codes.value.allSatisfy { $0.isOK })
  }

  // MARK: a host restarts

  /// What `node` is told about a request, asking as its node server or as another entity of it.
  private static func outcome(
    of transaction: TransactionID, _ client: EntityID, on moa: Node, asking node: Node,
    as asker: EntityID, _ simulator: Simulator
  ) -> ReplyCode? {
    let code = Shared<ReplyCode?>(nil)
    node.send(
      Message(QueryOutcome(client: client, transaction: transaction).mcb), from: asker,
      to: .manager(of: moa.id), options: SendOptions()
    ) { response in
      code.value = response.code
      // The response that the request had.
      if response.code.isOK { #expect(response.message.segment.count == 5000) }
    }
    simulator.run(for: .seconds(5)) { code.value != nil }
    return code.value
  }

  @Test("a restarted host learns what became of its requests, and no other host or process does")
  func outcomes() {
    let pair = Pair(seed: 19)
    let (simulator, kea, moa) = (pair.simulator, pair.kea, pair.moa)
    let tui = simulator.start("tui")
    let held = Shared<[Request]>([])
    let slow = moa.makeServer(knowsPrincipals: true) { held.value.append($0) }
    let begun = Shared<[BeginTransaction]>([])
    simulator.dropsPacket = { packet in
      guard let header = try? PacketHeader(parsing: packet.span.bytes, bodyBytes: packet.count - 4)
      else { return false }
      let segment = Array(packet[64...].prefix(header.mcb.segmentSize))
      if header.mcb.code == Management.beginTransaction,
        let begin = try? BeginTransaction(parsing: Message(header.mcb, segment: segment))
      {
        begun.value.append(begin)
      }
      // The third of the requests never comes.
      return header.mcb.code == 0x7701 && header.client == begun.value.last?.client
        && begun.value.count == 3
    }
    for count in 1...3 {
      kea.send(
        Message(Self.hello), from: kea.makeClient(user: "ann"), to: slow, options: SendOptions()
      ) { _ in }
      simulator.run(for: .milliseconds(20)) { held.value.count == count }
    }
    #expect(held.value.count == 2 && begun.value.count == 3)
    simulator.crash("kea")
    let successor = simulator.start("kea")
    successor.announce()
    simulator.run(for: .seconds(1))
    simulator.dropsPacket = nil
    let response = Message(MessageControlBlock(), segment: [UInt8](repeating: 3, count: 5000))
    moa.reply(response, to: held.value[0])
    func nodeServer(_ node: Node) -> EntityID {
      node.makeServer(discriminator: 2, knowsPrincipals: false) { _ in }
    }
    func told(_ index: Int, _ node: Node, _ asker: EntityID) -> ReplyCode? {
      Self.outcome(
        of: begun.value[index].transaction, begun.value[index].client, on: moa, asking: node,
        as: asker, simulator)
    }
    let (own, other) = (nodeServer(successor), nodeServer(tui))
    #expect(told(0, tui, other) == .outcomeUnknown)
    #expect(told(0, successor, successor.makeClient(user: "root")) == .illegalRequest)
    #expect(told(0, successor, own) == .ok)
    #expect(told(1, successor, own) == .busy)
    #expect(told(2, successor, own) == .nonexistentEntity)
    moa.reply(response, to: held.value[1])
    #expect(told(1, successor, own) == .ok)
    simulator.run(for: .seconds(31))
    for index in 0..<3 { #expect(told(index, successor, own) == .outcomeUnknown) }
  }

  // MARK: one direction is lost

  @Test("a host that is heard and does not answer is down after 2.0 s, and said to be deaf")
  func oneDirection() {
    let pair = Pair(seed: 14)
    let (kea, moa) = (pair.kea, pair.moa)
    pair.simulator.loseAll(from: "kea", to: "moa")
    // All the while moa asks kea for something.
    let (other, _) = startCounter(kea)
    let questions = Shared(0)
    @Sendable func go() {
      moa.send(
        Message(Self.hello), from: moa.makeClient(user: "bob"), to: other, options: SendOptions()
      ) { _ in
        questions.value += 1
        if questions.value < 10 { moa.after(.milliseconds(1)) { go() } }
      }
    }
    go()
    let start = pair.simulator.now
    #expect(pair.ask(1) == .retransmissionTimeout)
    #expect(pair.simulator.now - start < .milliseconds(2100))
    #expect(kea.peers.map(\.isSilent) == [true] && kea.peers.map(\.isDeaf) == [true])
    pair.simulator.run(for: .seconds(10)) { questions.value > 0 }
    #expect(moa.peers.map(\.isSilent) == [true] && moa.peers.map(\.isDeaf) == [false])
    pair.simulator.heal()
    pair.simulator.run(for: .seconds(2)) { !kea.peers[0].isSilent }
    #expect(pair.ask(2) == .ok)
    #expect(!kea.peers[0].isSilent && pair.executions.value[1] == nil)
  }

  @Test("a kernel that asks for missing blocks and does not get them is no sign of life")
  func oneDirectionWithinRequest() {
    let pair = Pair(seed: 15)
    let (kea, simulator) = (pair.kea, pair.simulator)
    let code = Shared<ReplyCode?>(nil)
    let passed = Shared(0)
    // One packet of the request arrives; after that, nothing from kea does.
    simulator.dropsPacket = { packet in
      guard packet.count > 1000 else { return false }
      passed.value += 1
      if passed.value == 2 { simulator.loseAll(from: "kea", to: "moa") }
      return passed.value > 1
    }
    let start = simulator.now
    kea.send(
      Message(Self.numbered(1), segment: [UInt8](repeating: 7, count: 16_384)),
      from: pair.client, to: pair.server, options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(10)) { code.value != nil }
    #expect(code.value == .retransmissionTimeout)
    #expect(simulator.now - start < .milliseconds(2300))
  }

  // MARK: where a kernel is

  @Test("a packet that a stranger sends again moves nobody, and ends nobody's transactions")
  func copiedPacket() {
    let pair = Pair(seed: 16, secret: [UInt8](repeating: 9, count: 32))
    let tui = pair.simulator.start("tui", secret: [UInt8](repeating: 9, count: 32))
    let held = Shared<[Request]>([])
    let slow = tui.makeServer(knowsPrincipals: true) { held.value.append($0) }
    let waiting = Shared<ReplyCode?>(nil)
    pair.kea.send(
      Message(Self.hello), from: pair.kea.makeClient(user: "ann"), to: slow,
      options: SendOptions()
    ) { waiting.value = $0.code }
    pair.simulator.run(for: .seconds(1)) { held.value.count == 1 }
    // A packet of moa is caught, and comes from the address of tui.
    let caught = Shared<[UInt8]?>(nil)
    pair.simulator.dropsPacket = { packet in
      guard caught.value == nil, held.value.count == 1, SealedPacket.isSealed(packet.span.bytes),
        (try? SealedPacket.Trailer(parsing: packet.span.bytes))?.sender == pair.moa.id
      else { return false }
      caught.value = packet
      return true
    }
    #expect(pair.ask(1) == .ok)
    let elsewhere = pair.simulator.machine("tui").locator
    pair.simulator.machine("kea").receive(caught.value!, from: elsewhere)
    pair.simulator.run(for: .seconds(1))
    #expect(place(of: pair.moa, on: pair) == pair.simulator.machine("moa").locator)
    #expect(place(of: tui, on: pair) == pair.simulator.machine("tui").locator)
    #expect(waiting.value == nil)
    #expect(pair.ask(2) == .ok)
    tui.reply(Message(reply: .ok), to: held.value[0])
    pair.simulator.run(for: .seconds(1)) { waiting.value != nil }
    #expect(waiting.value == .ok)
  }

  private func place(of node: Node, on pair: Pair) -> Locator? {
    pair.kea.peers.first { $0.kernel == node.id }?.locator
  }

  @Test("a host whose address has changed is found at the new one, in the midst of its work")
  func movedAddress() {
    let pair = Pair(seed: 17, secret: [UInt8](repeating: 9, count: 32))
    let moved = Locator(ipv4: 0x0A4D_0077, port: 61044)
    pair.simulator.machine("moa").locator = moved
    pair.moa.announce()
    #expect(pair.ask(1) == .ok)
    #expect(place(of: pair.moa, on: pair) == moved)
    // The own address, while a request is under way.
    pair.simulator.machine("kea").locator = Locator(ipv4: 0x0A4D_0078, port: 61044)
    #expect(pair.ask(2) == .ok)
    #expect(pair.executions.value[1] == 1 && pair.executions.value[2] == 1)
  }

  @Test("a host that boots anew is known to have within half a second")
  func reboot() {
    let pair = Pair(seed: 18)
    let held = Shared<[Request]>([])
    let slow = pair.moa.makeServer(knowsPrincipals: true) { held.value.append($0) }
    let code = Shared<ReplyCode?>(nil)
    pair.kea.send(
      Message(Self.hello), from: pair.kea.makeClient(user: "ann"), to: slow,
      options: SendOptions()
    ) { code.value = $0.code }
    pair.simulator.run(for: .seconds(1)) { held.value.count == 1 }
    pair.simulator.crash("moa")
    let again = pair.simulator.start("moa")
    again.announce()
    pair.simulator.run(for: .milliseconds(500)) { code.value != nil }
    #expect(code.value == .outcomeUnknown)
    // By now it is also known that no other host has its servers.
    #expect(pair.ask(1, within: .milliseconds(250)) == .nonexistentEntity)
    #expect(pair.ask(2, within: .milliseconds(1)) == .nonexistentEntity)
  }
}
