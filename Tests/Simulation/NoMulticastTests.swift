import Testing
import VNode
import VProtocol
import VRuntime

@Suite("A network without multicast, in the simulator")
struct NoMulticastTests {
  private static let hosts = ["kea", "moa", "tui"]
  /// Where the simulator puts three hosts.
  private static let places = (0..<3).map { Locator(ipv4: 0x0A4D_0001 + $0, port: 61_044) }
  private static let group = EntityID(group: 77, low: 7, isUnrestricted: true)

  private let simulator = Simulator(seed: 61)

  /// Three hosts whose configurations name all of them.
  private func startAll() -> [GroupHost] {
    let hosts = Self.hosts.map { GroupHost($0, in: simulator, peers: Self.places) }
    simulator.run(for: .seconds(1))
    return hosts
  }

  /// Makes a group on the first host, with a member on each; a Send and a datagram reach all.
  private func expectWhole(_ hosts: [GroupHost]) {
    #expect(hosts[0].make("parrots", .context) == .ok)
    for host in hosts { #expect(host.make("parrots/members/ann", .file) == .ok) }
    #expect(hosts[1].list("parrots/members") == ["kea:ann", "ann", "tui:ann"])
    #expect(hosts[0].write("hello\n", to: "parrots/send") == .ok)
    #expect(
      hosts[0].read("parrots/send") == "kea:ann: taken\nmoa:ann: taken\ntui:ann: taken\n")
    for host in hosts { #expect(host.read("parrots/members/ann") == "ann@kea: hello\n") }
    #expect(hosts[2].write("all\n", to: "parrots/datagram") == .ok)
    simulator.run(for: .seconds(1))
    for host in hosts { #expect(host.read("parrots/members/ann") == "ann@tui: all\n") }
  }

  @Test("groups, their Sends and datagrams work among hosts that name each other")
  func groups() {
    simulator.carriesMulticast = false
    expectWhole(startAll())
    #expect(simulator.copies > 0)
  }

  @Test("every host lists every prefix, and a new one is known to all at once")
  func names() throws {
    simulator.carriesMulticast = false
    let hosts = try Self.hosts.map { host in
      let node = simulator.start(host)
      node.setPeers(Self.places)
      return try ClaimingHost(host, in: simulator, node: node)
    }
    simulator.run(for: .seconds(3))
    let names = Set(Self.hosts + ["any", "self"])
    for host in hosts {
      #expect(outcome(simulator) { host.list("storage", $0) }.map { Set($0) } == names)
    }
    let moa = hosts[1].node
    let manager = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.refuse(.notFound, request)
    }
    let claim = ClaimName(
      prefix: Array("late".utf8), context: ContextID(rawValue: 1),
      manager: manager)
    #expect(hosts[1].code(of: claim, simulator) == .ok)
    simulator.run(for: .seconds(1))
    for host in hosts {
      #expect(outcome(simulator) { host.list("", $0) }?.contains("late") == true)
    }
  }

  @Test("a kernel is located by its entity alone")
  func locating() {
    simulator.carriesMulticast = false
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, executions) = startCounter(moa)
    #expect(kea.peers.isEmpty)
    kea.setPeers([Self.places[1]])
    let done = sendMany(1, from: kea, to: server, bytes: { _ in 3 }, check: { _, _, _ in })
    simulator.run(for: .seconds(1)) { done.value == 1 }
    #expect(done.value == 1 && executions.value == [0: 1])
  }

  @Test("one side's configuration is enough: who gets copies sends copies")
  func oneSide() {
    simulator.carriesMulticast = false
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, executions) = startCounter(kea)
    kea.join(server, group: Self.group)
    let client = moa.makeClient(user: "ann")
    var mcb = MessageControlBlock(code: 0x7701)
    mcb[3] = 1
    moa.sendDatagram(Message(mcb), from: client, to: Self.group)
    simulator.run(for: .seconds(1))
    #expect(executions.value.isEmpty)
    kea.setPeers([Self.places[1]])
    kea.announce()
    simulator.run(for: .seconds(1))
    mcb[3] = 2
    moa.sendDatagram(Message(mcb), from: client, to: Self.group)
    simulator.run(for: .seconds(1))
    #expect(executions.value == [2: 1])
  }

  @Test("when a network loses its multicast, its hosts find each other by what they heard")
  func lostMulticast() {
    let hosts = Self.hosts.map { GroupHost($0, in: simulator) }
    simulator.run(for: .seconds(120))
    #expect(simulator.copies == 0)
    simulator.carriesMulticast = false
    simulator.run(for: .seconds(120))
    expectWhole(hosts)
    // And ends the copies when it has it again.
    simulator.carriesMulticast = true
    simulator.run(for: .seconds(300))
    let before = simulator.copies
    simulator.run(for: .seconds(300))
    #expect(simulator.copies == before)
  }

  @Test("a network with multicast has no other packets than before")
  func noCopies() {
    let hosts = Self.hosts.map { GroupHost($0, in: simulator) }
    simulator.run(for: .seconds(1))
    expectWhole(hosts)
    simulator.run(for: .seconds(600))
    #expect(simulator.copies == 0)
  }

  @Test(
    "a request that comes by multicast and as a copy is taken once, sealed and clear",
    arguments: [nil, (0..<32).map { UInt8($0) }])
  func twice(secret: [UInt8]?) {
    let kea = simulator.start("kea", secret: secret)
    let moa = simulator.start("moa", secret: secret)
    let (server, executions) = startCounter(moa)
    moa.join(server, group: Self.group)
    moa.announce()
    simulator.run(for: .seconds(1))
    kea.setPeers([Self.places[1]])
    var mcb = MessageControlBlock(code: 0x7701)
    let client = kea.makeClient(user: "ann")
    let answers = Shared(0)
    for number: UInt32 in 1...4 {
      mcb[3] = number
      if number % 2 == 0 {
        kea.sendDatagram(Message(mcb), from: client, to: Self.group)
      } else {
        kea.send(
          Message(mcb), from: client, to: Self.group,
          options: SendOptions(timeLimit: .seconds(1), collectsResponses: true)
        ) { response in
          if response.server != .none { answers.value += 1 }
        }
      }
      simulator.run(for: .seconds(2))
    }
    #expect(executions.value == [1: 1, 2: 1, 3: 1, 4: 1] && answers.value == 2)
    #expect(simulator.copies >= 4)
    let isRefused = simulator.machine("moa").refused.contains(.replayed)
    #expect(isRefused == (secret != nil), "a clear packet has no number")
  }
}
