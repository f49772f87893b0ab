import Testing
import VDirectory
import VKernel
import VNode
import VProtocol
import VRuntime

/// Sends from `node` to `server` ten times a second, so that its peer stays alive.
private func keepTalking(_ simulator: Simulator, _ node: Node, _ server: EntityID) {
  let client = node.makeClient(user: "bob")
  @Sendable func next() {
    node.send(
      Message(MessageControlBlock(code: 1)), from: client, to: server, options: SendOptions()
    ) { [unowned node] _ in
      node.after(.milliseconds(100)) { next() }
    }
  }
  next()
}

@Suite("Faults that a review found, in the simulator")
struct ReviewedTests {
  @Test(
    "a local client of a forward ends when the second server is retired", arguments: [false, true])
  func forwardedServerDies(isRemote: Bool) {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let asked = Shared(false)
    let second = moa.makeServer(knowsPrincipals: true) { _ in asked.value = true }
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: second)
    }
    let node = isRemote ? kea : moa
    let code = Shared<ReplyCode?>(nil)
    node.send(
      Message(MessageControlBlock(code: 1)), from: node.makeClient(user: "ann"), to: first,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(1)) { asked.value }
    #expect(asked.value)
    moa.retire(second)
    simulator.run(for: .seconds(60)) { code.value != nil }
    #expect(code.value == .outcomeUnknown)
  }

  @Test("missing packets of an abandoned request are not requested for ever")
  func receivingFlood() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] in
      moa.reply(Message(reply: .ok), to: $0)
    }
    keepTalking(simulator, kea, server)
    let client = kea.makeClient(user: "ann")
    // The client is known.
    let done = Shared(false)
    kea.send(
      Message(MessageControlBlock(code: 1)), from: client, to: server, options: SendOptions()
    ) { _ in done.value = true }
    simulator.run(for: .seconds(1)) { done.value }
    simulator.run(for: .milliseconds(300))
    // The last packet of the next request is lost, and its program is killed.
    let count = Shared(0)
    simulator.dropsPacket = { packet in
      guard packet.count > 500 else { return false }
      count.value += 1
      return count.value >= 2
    }
    kea.send(
      Message(MessageControlBlock(code: 1), segment: [UInt8](repeating: 1, count: 3000)),
      from: client,
      to: server, options: SendOptions()
    ) { _ in }
    simulator.run(for: TimeSpan.microseconds(200))
    kea.retire(client)
    simulator.run(for: .seconds(10))
    let before = moa.counters.notifiesSent
    simulator.run(for: .seconds(10))
    #expect(moa.counters.notifiesSent - before < 100)
  }

  @Test("a group without members on the kernel that is meant")
  func coResidentNoMembers() {
    let simulator = Simulator(seed: 4)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] in
      moa.reply(Message(reply: .ok), to: $0)
    }
    keepTalking(simulator, kea, server)
    simulator.run(for: .seconds(1))
    let code = Shared<ReplyCode?>(nil)
    var mcb = MessageControlBlock(code: 1)
    mcb.flags = .coResident
    mcb.coResident = server
    kea.send(
      Message(mcb), from: kea.makeClient(user: "ann"),
      to: EntityID(group: 77, low: 0xE000_0100, isUnrestricted: true), options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(60)) { code.value != nil }
    #expect(code.value == .nonexistentEntity)
  }

  @Test("a claim above a shared context that is in use")
  func claimAbove() throws {
    let simulator = Simulator(seed: 1)
    let kea = try ClaimingHost("kea", in: simulator, prefixes: ["a/b/c"])
    simulator.run(for: .seconds(6))
    let answer: Answer<Descriptor>? = outcome(simulator) { kea.walk("a/b", $0) }
    guard case .done(let shared, let manager)? = answer else {
      Issue.record("no a/b")
      return
    }
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["a"])
    defer { withExtendedLifetime(moa) {} }
    simulator.run(for: .seconds(6))
    let found: Answer<Descriptor>? = outcome(simulator) { done in
      kea.clients.send(
        QueryObject(ContextName(shared.context, Array("x".utf8))), as: "root", to: manager,
        completion: done)
    }
    #expect(found?.refusal == .invalidContext, "the name has to be given from the root")
  }

  @Test("a host that boots with its clock behind is found")
  func clockBehind() throws {
    let simulator = Simulator(seed: 1)
    let kea = try ClaimingHost("kea", in: simulator)
    var moa: ClaimingHost? = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(6))
    let first: Answer<Descriptor>? = outcome(simulator) { kea.walk("storage/moa/hello", $0) }
    if case .done? = first {} else { Issue.record("not found at first") }
    simulator.crash("moa")
    withExtendedLifetime(moa) {}
    simulator.run(for: .seconds(3))
    simulator.clockOffsets["moa"] = -3_600_000_000_000
    moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(6))
    simulator.clockOffsets["moa"] = 0
    simulator.run(for: .seconds(120))
    let again: Answer<Descriptor>? = outcome(simulator) { kea.walk("storage/moa/hello", $0) }
    if case .done? = again {
    } else {
      Issue.record("after the reboot: \(String(describing: again))")
    }
  }

  @Test("a server that becomes slow, step by step, does not count as silent")
  func slowServer() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let delay = Shared(TimeSpan.milliseconds(100))
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      let span = delay.value
      moa.after(span) { [unowned moa] in moa.reply(Message(reply: .ok), to: request) }
    }
    let client = kea.makeClient(user: "ann")
    func ask() -> ReplyCode? {
      outcome(simulator) { done in
        kea.send(
          Message(MessageControlBlock(code: 1)), from: client, to: server, options: SendOptions()
        ) { done($0.code) }
      }
    }
    for step: Int64 in [30, 48, 77, 123, 197, 315, 504, 806, 1290, 1900] {
      delay.value = .milliseconds(step)
      for _ in 0..<40 { #expect(ask() == .ok) }
    }
    delay.value = .milliseconds(2500)
    #expect(ask() == .ok, "the host lives and no packet was lost")
    #expect(ask() == .ok)
  }

  @Test("a recorded multicast of a dead boot, sent again without the key, does no harm")
  func replayKills() {
    let secret = (0..<32).map { UInt8($0) }
    let simulator = Simulator(seed: 3)
    var kea = simulator.start("kea", secret: secret)
    _ = simulator.start("tui", secret: secret)
    let recorded = Shared<[[UInt8]]>([])
    simulator.dropsPacket = {
      recorded.value.append($0)
      return false
    }
    kea.announce()
    simulator.run(for: .seconds(1))
    simulator.dropsPacket = nil
    simulator.crash("kea")
    simulator.run(for: .seconds(3))
    let moa = simulator.start("moa", secret: secret)
    kea = simulator.start("kea", secret: secret)
    kea.announce()
    let executions = Shared(0)
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      executions.value += 1
      moa.after(.seconds(3)) { [unowned moa] in moa.reply(Message(reply: .ok), to: request) }
    }
    let code = Shared<ReplyCode?>(nil)
    kea.send(
      Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: server,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(1))
    let (k, m) = (simulator.machines[0], simulator.machines[2])
    m.receive(recorded.value[0], from: k.locator)
    simulator.run(for: .seconds(20)) { code.value != nil }
    #expect(executions.value == 1)
    #expect(code.value == .ok)
  }
}
