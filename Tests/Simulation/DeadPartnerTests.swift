import Testing
import VKernel
import VNode
import VProtocol
import VRuntime

/// A server or a client ends, or goes on to something else, while a request is being worked on.
@Suite("Partners that end, in the simulator")
struct DeadPartnerTests {
  /// A server of moa that holds its requests, and a request of a client of kea that it holds.
  private struct Held {
    let simulator = Simulator(seed: 1)
    let kea: Node
    let moa: Node
    let server: EntityID
    let client: EntityID
    let requests = Shared<[Request]>([])
    let codes = Shared<[ReplyCode]>([])

    init(limit: TimeSpan? = nil) {
      kea = simulator.start("kea")
      moa = simulator.start("moa")
      let requests = requests
      server = moa.makeServer(knowsPrincipals: true) { requests.value.append($0) }
      client = kea.makeClient(user: "ann")
      ask(limit: limit)
      simulator.run(for: .seconds(1)) { requests.value.count == 1 }
    }

    func ask(limit: TimeSpan? = nil) {
      let codes = codes
      kea.send(
        Message(MessageControlBlock(code: 1)), from: client, to: server,
        options: SendOptions(timeLimit: limit)
      ) { codes.value.append($0.code) }
    }
  }

  @Test("C1: a server that ends with a remote client's request in hand ends the call at once")
  func serverEnds() {
    let held = Held()
    held.moa.retire(held.server)
    held.simulator.run(for: .milliseconds(1))
    // Perhaps it had done it.
    #expect(held.codes.value == [.outcomeUnknown])
  }

  @Test("C4: a member of a group that boots anew may take a call a second time, after a probe")
  func groupReboots() {
    let simulator = Simulator(seed: 2)
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    let executions = Shared<[KernelID]>([])
    func boot(answers: Bool) -> Node {
      let moa = simulator.start("moa")
      let member = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
        executions.value.append(moa.id)
        #expect(request.principal != nil && moa.counters.probesSent > 0)
        if answers { moa.reply(Message(reply: .ok), to: request) }
      }
      moa.join(member, group: group)
      return moa
    }
    let (kea, first) = (simulator.start("kea"), boot(answers: false))
    let code = Shared<ReplyCode?>(nil)
    kea.send(
      Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: group,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(1)) { executions.value.count == 1 }
    simulator.crash("moa")
    let second = boot(answers: true)
    simulator.run(for: .seconds(2)) { code.value != nil }
    #expect(code.value == .ok)
    #expect(executions.value == [first.id, second.id])
  }

  @Test("C5: a client's host ends while a server works: it is forgotten, and the reply is not sent")
  func clientHostEnds() {
    let held = Held()
    held.simulator.crash("kea")
    #expect(held.moa.clients.count == 1)
    held.simulator.run(for: .seconds(21))
    #expect(held.moa.clients.isEmpty)
    let before = held.simulator.packets
    held.moa.reply(Message(reply: .ok), to: held.requests.value[0])
    held.simulator.run(for: .seconds(60))
    #expect(held.simulator.packets == before)
  }

  @Test("C5, C6: a client's process ends: the reply has no effect, and the server is told so")
  func clientEnds() {
    let held = Held()
    held.kea.retire(held.client)
    held.moa.reply(Message(reply: .ok), to: held.requests.value[0])
    held.simulator.run(for: .seconds(4))
    #expect(held.codes.value.isEmpty)
    #expect(held.moa.clients.count == 1, "the response is kept")
    // Asked after 5 s whether it came, kea answers that it was discarded; after 5 s more the record
    // goes.
    held.simulator.run(for: .seconds(3))
    #expect(held.kea.counters.notifiesSent == 1)
    held.simulator.run(for: .seconds(5))
    #expect(held.moa.clients.isEmpty)
  }

  @Test("C8: a client that gave up asks anew: that is served, and the late reply is dropped")
  func nextCall() {
    let held = Held(limit: .milliseconds(100))
    held.simulator.run(for: .milliseconds(200)) { held.codes.value == [.userTimeout] }
    #expect(held.codes.value == [.userTimeout])
    held.ask()
    held.simulator.run(for: .seconds(1)) { held.requests.value.count == 2 }
    #expect(held.requests.value.count == 2)
    let before = held.moa.counters.responsesSent
    held.moa.reply(Message(reply: .endOfFile), to: held.requests.value[0])
    #expect(held.moa.counters.responsesSent == before)
    held.moa.reply(Message(reply: .ok), to: held.requests.value[1])
    held.simulator.run(for: .seconds(1)) { held.codes.value.count == 2 }
    #expect(held.codes.value == [.userTimeout, .ok])
  }

  @Test("I2: a host that crashes again and again has no identifier twice")
  func identifiers() {
    let simulator = Simulator(seed: 3)
    var seen: Set<EntityID> = []
    for boot in 1...300 {
      let kea = simulator.start("kea")
      for _ in 0..<3 { seen.insert(kea.makeClient(user: "ann")) }
      seen.insert(kea.makeServer(knowsPrincipals: true) { _ in })
      seen.insert(.manager(of: kea.id))
      #expect(seen.count == boot * 5)
      simulator.crash("kea")
    }
  }
}
