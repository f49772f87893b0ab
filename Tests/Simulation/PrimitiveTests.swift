import NetworkFaults
import Testing
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime
import VTransport

/// Sends one request of a fresh client and returns its response's code and server.
private func ask(
  _ simulator: Simulator, _ node: Node, _ server: EntityID, flags: CodeFlags = []
) -> Response? {
  outcome(simulator) { completion in
    var mcb = MessageControlBlock(code: 0x7701)
    mcb.flags = flags
    node.send(
      Message(mcb, segment: [UInt8](repeating: 5, count: 3000)),
      from: node.makeClient(user: "ann"), to: server, options: SendOptions(),
      completion: completion)
  }
}

@Suite("Forward in the simulator")
struct ForwardTests {
  /// A server that answers with the caller's principal and the length of the segment.
  private func startEcho(_ node: Node, _ executions: Shared<Int>) -> EntityID {
    node.makeServer(knowsPrincipals: true) { [unowned node] request in
      executions.value += 1
      node.reply(
        Message(
          MessageControlBlock(),
          segment: Array("\(request.principal!) \(request.message.segment.count)".utf8)),
        to: request)
    }
  }

  @Test(
    "W2: a request forwarded to a third host is answered by it, once, as the client's principal",
    arguments: seeds)
  func thirdHost(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 15, duplication: 5, reordering: 10)
    let (kea, moa, tui) = (
      simulator.start("kea"), simulator.start("moa"), simulator.start("tui")
    )
    let executions = Shared(0)
    let last = startEcho(tui, executions)
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: last)
    }
    let response = ask(simulator, kea, first)
    #expect(response?.server == last, "V_SEED=\(seed)")
    #expect(response?.message.segment == Array("ann@kea 3000".utf8), "V_SEED=\(seed)")
    #expect(executions.value == 1, "V_SEED=\(seed)")
  }

  @Test("a forward inside one host, of a remote and of a local client, keeps the principal")
  func sameHost() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let executions = Shared(0)
    let last = startEcho(moa, executions)
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: last)
    }
    #expect(ask(simulator, kea, first)?.message.segment == Array("ann@kea 3000".utf8))
    #expect(ask(simulator, moa, first)?.message.segment == Array("ann@moa 3000".utf8))
    #expect(executions.value == 2)
  }

  @Test("a forward to a dead entity or a dead host ends the transaction with its code")
  func deadTarget() {
    let simulator = Simulator(seed: 2)
    let (kea, moa, tui) = (
      simulator.start("kea"), simulator.start("moa"), simulator.start("tui")
    )
    tui.announce()
    simulator.run(for: .seconds(1))
    let target = Shared(EntityID(kernel: tui.id, discriminator: 999))
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: target.value)
    }
    #expect(ask(simulator, kea, first)?.code == .nonexistentEntity)
    simulator.crash("tui")
    #expect(ask(simulator, kea, first)?.code == .retransmissionTimeout)
    #expect(ask(simulator, moa, first)?.code == .retransmissionTimeout)
  }

}

@Suite("Groups and message processes in the simulator")
struct GroupTests {
  static let group = EntityID(group: 77, low: 0xE000_0100, isUnrestricted: true)

  @Test("G3: every member of a group answers once, those of this host as well", arguments: seeds)
  func collect(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(duplication: 30, reordering: 10)
    let nodes = ["kea", "moa", "tui"].map { simulator.start($0) }
    var members: Set<EntityID> = []
    for node in nodes {
      for _ in 0..<2 {
        let member = node.makeServer(knowsPrincipals: false) { [unowned node] request in
          node.reply(
            Message(MessageControlBlock(), segment: [UInt8](repeating: 1, count: 2000)),
            to: request)
        }
        node.join(member, group: Self.group)
        members.insert(member)
      }
    }
    let heard = Shared<[EntityID]>([])
    let end = Shared<ReplyCode?>(nil)
    nodes[0].send(
      Message(MessageControlBlock(code: 1)), from: nodes[0].makeClient(user: "ann"),
      to: Self.group,
      options: SendOptions(timeLimit: .milliseconds(500), collectsResponses: true)
    ) { response in
      if response.code.isOK {
        heard.value.append(response.server)
      } else {
        end.value = response.code
      }
    }
    simulator.run(for: .seconds(5)) { end.value != nil }
    #expect(end.value == .userTimeout)
    #expect(Set(heard.value) == members && heard.value.count == members.count, "V_SEED=\(seed)")
  }

  @Test("G7: the co-resident qualifier reaches the members of one kernel and no others")
  func coResident() {
    let simulator = Simulator(seed: 4)
    let nodes = ["kea", "moa", "tui"].map { simulator.start($0) }
    let asked = Shared<[String]>([])
    for node in nodes {
      let member = node.makeServer(knowsPrincipals: false) { [unowned node] request in
        asked.value.append(node.host)
        node.reply(Message(reply: .ok), to: request)
      }
      node.join(member, group: Self.group)
    }
    let someone = nodes[1].makeClient(user: "bob")
    func ask(near entity: EntityID) -> ReplyCode? {
      asked.value = []
      return outcome(simulator) { completion in
        var mcb = MessageControlBlock(code: 1)
        mcb.flags = .coResident
        mcb.coResident = entity
        nodes[0].send(
          Message(mcb), from: nodes[0].makeClient(user: "ann"), to: Self.group,
          options: SendOptions()
        ) { completion($0.code) }
      }
    }
    #expect(ask(near: someone) == .ok)
    #expect(asked.value == ["moa"])
    let before = nodes[0].counters.multicastsSent
    #expect(ask(near: .none) == .ok)
    #expect(asked.value == ["kea"], "no entity means one's own kernel")
    #expect(nodes[0].counters.multicastsSent == before)
    simulator.crash("moa")
    #expect(ask(near: someone) == .retransmissionTimeout)
  }

  @Test("G1: a group without members ends after 2.0 s; a time limit ends it earlier")
  func noMembers() {
    let simulator = Simulator(seed: 1)
    let kea = simulator.start("kea")
    _ = simulator.start("moa")
    let start = simulator.now
    #expect(ask(simulator, kea, Self.group)?.code == .retransmissionTimeout)
    #expect(simulator.now - start == .seconds(2))
  }

  @Test("O3: a message process works on one message at a time, and queues no CMD when busy")
  func messageProcess() {
    let simulator = Simulator(seed: 2)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let process = MessageProcess(moa)
    let working = Shared(0)
    let most = Shared(0)
    let received = Shared<[CodeFlags]>([])
    @Sendable func serve() {
      process.receive { [unowned moa] request in
        working.value += 1
        received.value.append(request.message.mcb.flags)
        most.value = max(most.value, working.value)
        moa.after(.milliseconds(10)) {
          working.value -= 1
          moa.reply(Message(reply: .ok), to: request)
          serve()
        }
      }
    }
    serve()
    let done = Shared(0)
    for _ in 0..<5 {
      kea.send(
        Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"),
        to: process.entity, options: SendOptions()
      ) { _ in done.value += 1 }
    }
    simulator.run(for: .milliseconds(5))
    #expect(ask(simulator, kea, process.entity, flags: .conditional)?.code == .notAwaitingMessage)
    simulator.run(for: .seconds(2)) { done.value == 5 }
    #expect(done.value == 5)
    #expect(most.value == 1)
    // Neither the refused request was queued, nor is a datagram.
    let datagram = MessageControlBlock(code: 1)
    kea.send(
      Message(datagram), from: kea.makeClient(user: "ann"), to: process.entity,
      options: SendOptions()
    ) { _ in }
    simulator.run(for: .milliseconds(5))
    var conditional = datagram
    conditional.flags = .conditional
    kea.sendDatagram(Message(conditional), from: kea.makeClient(user: "ann"), to: process.entity)
    simulator.run(for: .seconds(1))
    #expect(received.value.count == 6)
    #expect(received.value.allSatisfy { !$0.contains(.conditional) })
    #expect(ask(simulator, kea, process.entity, flags: .conditional)?.code == .ok)
    #expect(received.value.count == 7)
    // On one host it is the same.
    #expect(ask(simulator, moa, process.entity, flags: .conditional)?.code == .ok)
  }
}

@Suite("Corners of the kernel in the simulator")
struct KernelCornerTests {
  @Test("a client that used an at-most-once server is answered by an idempotent one as fast")
  func idempotentAfterAtMostOnce() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let servers = [true, false].map { knowsPrincipals in
      moa.makeServer(knowsPrincipals: knowsPrincipals) { [unowned moa] request in
        moa.reply(Message(reply: .ok), to: request)
      }
    }
    let client = kea.makeClient(user: "ann")
    for server in servers {
      let start = simulator.now
      let response: Response? = outcome(simulator) { completion in
        kea.send(
          Message(MessageControlBlock(code: 1)), from: client, to: server,
          options: SendOptions(), completion: completion)
      }
      #expect(response?.code == .ok)
      #expect(simulator.now - start < .milliseconds(100))
    }
  }

  @Test("a lost part of an idempotent server's response is requested again")
  func idempotentResponsePartLost() {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let server = moa.makeServer(knowsPrincipals: false) { [unowned moa] request in
      moa.reply(
        Message(MessageControlBlock(), segment: [UInt8](repeating: 1, count: 3000)), to: request)
    }
    var isLost = false
    simulator.dropsPacket = { packet in
      let isLongResponse = packet.count > 100 && packet[15] & 1 == 1
      defer { if isLongResponse { isLost = true } }
      return isLongResponse && !isLost
    }
    #expect(ask(simulator, kea, server)?.message.segment.count == 3000)
    #expect(isLost)
  }

  @Test("W3: a request forwarded back to the client's own host is answered there", arguments: seeds)
  func forwardHome(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 10, duplication: 10, reordering: 10)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let executions = Shared(0)
    let here = kea.makeServer(knowsPrincipals: true) { [unowned kea] request in
      executions.value += 1
      kea.reply(
        Message(
          MessageControlBlock(), segment: Array("\(request.principal!)".utf8)), to: request)
    }
    let there = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: here)
    }
    #expect(ask(simulator, kea, there)?.message.segment == Array("ann@kea".utf8), "V_SEED=\(seed)")
    #expect(executions.value == 1, "V_SEED=\(seed)")
  }

  @Test("a request that is forwarded home, and from there on, leaves no record", arguments: seeds)
  func forwardHomeAndOn(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 10, duplication: 10, reordering: 10)
    let nodes = ["kea", "moa", "tui"].map { simulator.start($0) }
    let (kea, moa) = (nodes[0], nodes[1])
    let executions = Shared(0)
    for last in nodes {
      let target = last.makeServer(knowsPrincipals: true) { [unowned last] request in
        executions.value += 1
        last.reply(Message(MessageControlBlock(), segment: request.message.segment), to: request)
      }
      let here = kea.makeServer(knowsPrincipals: true) { [unowned kea] request in
        kea.forward(request, request.message, to: target)
      }
      let there = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
        moa.forward(request, request.message, to: here)
      }
      #expect(ask(simulator, kea, there)?.message.segment.count == 3000, "V_SEED=\(seed)")
    }
    #expect(executions.value == 3, "V_SEED=\(seed)")
    simulator.faults = Faults()
    simulator.run(for: .seconds(60))
    #expect(nodes.allSatisfy { $0.clients.isEmpty }, "V_SEED=\(seed)")
  }

  @Test("a client that has moved hears from a server that only a forwarder has told of it")
  func movedClient() {
    let simulator = Simulator(seed: 1)
    let (kea, moa, tui) = (simulator.start("kea"), simulator.start("moa"), simulator.start("tui"))
    let (last, executions) = startCounter(tui)
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: last)
    }
    for node in [kea, moa, tui] { node.announce() }
    #expect(ask(simulator, kea, last)?.code == .ok)
    // So that moa knows where tui is, and tui has no record of the client.
    #expect(ask(simulator, moa, last)?.code == .ok)
    simulator.run(for: .seconds(60))
    // tui does not hear of it.
    simulator.loseAll(from: "kea", to: "tui")
    simulator.machine("kea").locator = Locator(ipv4: 0x0A4D_0078, port: 61044)
    kea.announce()
    simulator.run(for: .seconds(3))
    simulator.heal()
    let start = simulator.now
    #expect(ask(simulator, kea, first)?.code == .ok)
    #expect(simulator.now - start < .seconds(3))
    #expect(executions.value == [0: 3])
  }

  @Test("a response that does not come is kept for as long as a forwarder asks for it")
  func lostResponse() {
    let simulator = Simulator(seed: 1)
    let (kea, moa, tui) = (simulator.start("kea"), simulator.start("moa"), simulator.start("tui"))
    let executions = Shared(0)
    let network = Shared(simulator)
    let last = tui.makeServer(knowsPrincipals: true) { [unowned tui] request in
      executions.value += 1
      network.value.loseAll(from: "tui", to: "kea")
      tui.reply(Message(MessageControlBlock()), to: request)
    }
    let first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: last)
    }
    let code = Shared<ReplyCode?>(nil)
    kea.send(
      Message(MessageControlBlock(code: 0x7701)), from: kea.makeClient(user: "ann"), to: first,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(60))
    #expect(code.value == nil && executions.value == 1)
    simulator.heal()
    simulator.run(for: .seconds(5)) { code.value != nil }
    #expect(code.value == .ok && executions.value == 1)
  }
}
