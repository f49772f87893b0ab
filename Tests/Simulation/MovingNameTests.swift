import NetworkFaults
import Testing
import VClient
import VDirectory
import VFileServer
import VNode
import VProtocol
import VRuntime

@Suite("Names that move, in the simulator")
struct MovingNameTests {
  /// The host that serves `path`, as a walk finds it, or the refusal.
  private func server(
    of path: String, from host: ClaimingHost, _ simulator: Simulator
  ) -> Result<KernelID, Refusal> {
    switch outcome(simulator, { host.walk(path, $0) }) {
    case .done(_, let server): .success(server.kernel)
    case .refused(let refusal): .failure(Refusal(code: refusal.code))
    case nil: .failure(Refusal(code: .userTimeout))
    }
  }

  private struct Refusal: Error, Equatable { var code: ReplyCode }

  @Test("a prefix that one host gave up and another claimed is found there", arguments: seeds)
  func move(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["storage/moa", "src"])
    simulator.run(for: .seconds(10))
    #expect(server(of: "src", from: kea, simulator) == .success(moa.node.id), "V_SEED=\(seed)")
    simulator.crash("moa")
    let newMoa = try ClaimingHost("moa", in: simulator)
    let tui = try ClaimingHost("tui", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(40))
    #expect(tui.refusals.value.isEmpty, "V_SEED=\(seed)")
    for host in [kea, newMoa, tui] {
      #expect(server(of: "src", from: host, simulator) == .success(tui.node.id), "V_SEED=\(seed)")
    }
  }

  @Test("claims that a host does not make again after its boot are withdrawn, on every host")
  func withdrawal() throws {
    let simulator = Simulator(seed: 21)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    #expect(Set(outcome(simulator) { kea.list("", $0) } ?? []) == ["storage", "src"])
    simulator.crash("moa")
    let newMoa = try ClaimingHost("moa", in: simulator, prefixes: ["doc"])
    simulator.run(for: .seconds(8))
    for host in [kea, newMoa] {
      #expect(Set(outcome(simulator) { host.list("", $0) } ?? []) == ["storage", "doc"])
      #expect(server(of: "src", from: host, simulator) == .failure(Refusal(code: .notFound)))
    }
    _ = moa
  }

  @Test("a manager that ends is away on every host until its prefix is claimed again")
  func away() throws {
    let simulator = Simulator(seed: 22)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    // While it lives, no other manager of its host gets the prefix.
    let other = try FileServer(
      kea.node, store: ClaimingHost.disk([:]), users: FixedUsers(),
      exports: [Export(prefix: Array("storage/kea".utf8), path: "/")])
    let claim = { other.claim(in: kea.directory.server, completion: $0) }
    let refused: ReplyCode? = outcome(simulator) { told in claim { told($1) } }
    #expect(refused == .duplicateName)
    guard case .done(_, let manager)? = outcome(simulator, { kea.walk("storage/kea", $0) }) else {
      throw Refusal(code: .notFound)
    }
    kea.node.retire(manager)
    kea.directory.probeManagers()
    simulator.run(for: .milliseconds(500))
    for host in [kea, moa] {
      #expect(Set(outcome(simulator) { host.list("storage", $0) } ?? []).contains("kea"))
      #expect(
        server(of: "storage/kea/hello", from: host, simulator)
          == .failure(Refusal(code: .retransmissionTimeout)))
    }
    let taken: ReplyCode? = outcome(simulator) { told in claim { told($1) } }
    #expect(taken == .ok)
    simulator.run(for: .milliseconds(500))
    for host in [kea, moa] {
      #expect(server(of: "storage/kea", from: host, simulator) == .success(kea.node.id))
    }
  }

  @Test("of two claims that meet after a partition the older one ends", arguments: seeds)
  func meeting(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(3))
    // Before its claim, so that no host hears of it.
    let early = simulator.start("tui")
    simulator.partition("moa", "tui")
    simulator.partition("kea", "tui")
    let tui = try ClaimingHost("tui", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(3))
    #expect(moa.refusals.value.isEmpty && tui.refusals.value.isEmpty, "V_SEED=\(seed)")
    simulator.heal()
    simulator.run(for: .seconds(35))
    #expect(moa.refusals.value == [.duplicateName], "V_SEED=\(seed)")
    #expect(tui.refusals.value.isEmpty, "V_SEED=\(seed)")
    #expect(moa.directory.holder(of: Array("src".utf8)) == "tui")
    for host in [kea, moa, tui] {
      #expect(server(of: "src", from: host, simulator) == .success(tui.node.id), "V_SEED=\(seed)")
    }
    // Contexts that the loser granted before are refused too.
    let name = QueryName(ContextName(.none, Array("src".utf8)))
    let cache = NameCache(kea.node, clients: kea.clients)
    let found = outcome(simulator) { cache.query(name.name.name, completion: $0) }
    guard case .done(let answer, _) = found else {
      Issue.record("nobody answers for src; V_SEED=\(seed)")
      return
    }
    #expect(answer.manager.kernel == tui.node.id)
    _ = early
  }

  @Test("a claim with a clock at the end of its range takes no prefix, and keeps none from others")
  func absurdClock() throws {
    let simulator = Simulator(seed: 28)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    let broken = simulator.start("tui")
    let manager = broken.makeServer(knowsPrincipals: true) { _ in }
    for clock in [.max, .max - 1, .max / 2, 1_800_000_000_000_000_000] as [UInt64] {
      for prefix in ["src", "doc"] {
        let claim = Claim(
          prefix: Array(prefix.utf8), manager: manager, context: ContextID(rawValue: 1),
          host: "tui", clock: clock, state: .present)
        broken.sendDatagram(
          SpreadClaims([claim], wantsAnswer: false).message, from: broken.makeClient(user: "root"),
          to: .nameHandlingGroup)
      }
      simulator.run(for: .seconds(1))
    }
    #expect(moa.refusals.value.isEmpty)
    #expect(server(of: "src", from: kea, simulator) == .success(moa.node.id))
    // The clocks of the directories have not moved: a new claim is newer than all others.
    let rob = try ClaimingHost("rob", in: simulator, prefixes: ["doc"])
    // Until rob has heard all of them: packets are not sealed here.
    simulator.run(for: .seconds(35))
    for host in [kea, moa, rob] {
      let found = server(of: "doc", from: host, simulator)
      #expect(found == .success(rob.node.id), "\(host.node.host)")
      #expect(host.directory.holder(of: Array("doc".utf8)) == "rob")
    }
  }

  @Test("a host whose clock was a year ahead for a while is heard again when it is right")
  func clockSetBack() throws {
    let simulator = Simulator(seed: 29)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.clockOffsets["moa"] = 365 * TimeSpan.seconds(86_400).nanoseconds
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    #expect(kea.directory.holder(of: Array("src".utf8)) == nil)
    simulator.clockOffsets["moa"] = 0
    simulator.run(for: .seconds(65))
    for host in [kea, moa] {
      #expect(host.directory.holder(of: Array("src".utf8)) == "moa")
      #expect(host.directory.holder(of: Array("storage/kea".utf8)) == "kea")
    }
  }

  @Test("a host that lost its table learns from others of hosts that are away")
  func lostTable() throws {
    let simulator = Simulator(seed: 22)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    let tui = try ClaimingHost("tui", in: simulator)
    simulator.run(for: .seconds(5))
    simulator.crash("moa")
    simulator.crash("kea")
    let newKea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(1))
    let (down, unknown) = (Refusal(code: .retransmissionTimeout), Refusal(code: .notFound))
    #expect(server(of: "storage/moa", from: newKea, simulator) == .failure(down))
    #expect(server(of: "storage/rob", from: newKea, simulator) == .failure(unknown))
    _ = (kea, moa, tui)
  }

  @Test("a host without the others knows from its disk which are away, and their names")
  func keptTable() throws {
    let simulator = Simulator(seed: 23)
    let claims = Shared<[UInt8]>([])
    let kea = try ClaimingHost("kea", in: simulator, claims: claims)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    simulator.crash("moa")
    simulator.crash("kea")
    let newKea = try ClaimingHost("kea", in: simulator, claims: claims)
    simulator.run(for: .seconds(1))
    let down = Refusal(code: .retransmissionTimeout)
    #expect(server(of: "storage/moa", from: newKea, simulator) == .failure(down))
    let name = ContextName(newKea.directory.nameSpace.root, Array("storage/moa/x".utf8))
    let found = outcome(simulator) {
      newKea.clients.send(
        QueryName(name), as: "root", to: newKea.directory.server, completion: $0)
    }
    guard case .done(let answer, _) = found else {
      Issue.record("the directory does not say whose storage/moa is")
      return
    }
    #expect(answer.manager.kernel == moa.node.id)
    #expect(answer.prefixBytes == "storage/moa".utf8.count)
    _ = kea
  }

  @Test("a holder that missed the question for its prefix is probed")
  func unheardQuestion() throws {
    let simulator = Simulator(seed: 26)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    let kea = try ClaimingHost("kea", in: simulator, prefixes: [])
    simulator.run(for: .seconds(5))
    simulator.dropsPacket = { packet in Array(packet[33..<36]) == [0x00, 0x10, 0x01] }
    let claim = ClaimName(
      prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: kea.directory.server)
    #expect(kea.code(of: claim, simulator) == .duplicateName)
    #expect(kea.directory.holder(of: Array("src".utf8)) == "moa")
    simulator.crash("moa")
    #expect(kea.code(of: claim, simulator) == .ok)
    _ = moa
  }

  @Test("a host is refused more prefixes than its share, in words; they are found by asking")
  func fullShare() throws {
    let simulator = Simulator(seed: 24)
    let share = DirectoryLimits.claimsOfOneMax
    let moa = try ClaimingHost("moa", in: simulator, prefixes: (0..<share + 8).map { "p\($0)" })
    simulator.run(for: .seconds(5))
    #expect(moa.refusals.value == [ReplyCode](repeating: .noServerResources, count: 8))
    #expect(moa.claimed.value == share)
    let claim = ClaimName(
      prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: moa.directory.server)
    let answer = outcome(simulator) {
      moa.clients.send(claim, as: "root", to: moa.directory.server, completion: $0)
    }
    guard case .refused(let refusal) = answer else {
      Issue.record("the share has no bound")
      return
    }
    #expect(refusal.code == .noServerResources)
    #expect(refusal.words == "moa has 72 prefixes, and a host has no more")
    let kea = try ClaimingHost("kea", in: simulator, prefixes: [])
    simulator.run(for: .seconds(5))
    for host in [kea, moa] { #expect(outcome(simulator) { host.list("", $0) }?.count == share) }
    #expect(kea.code(of: self.claim(by: kea), simulator) == .ok)
    #expect(outcome(simulator) { kea.list("", $0) }?.count == share + 1)
    for number in [0, share + 7] {
      let found = server(of: "p\(number)", from: kea, simulator)
      #expect(found == .success(moa.node.id), "p\(number)")
    }
  }

  private func claim(by host: ClaimingHost) -> ClaimName {
    ClaimName(
      prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: host.directory.server)
  }

  @Test("claims beyond a host's share are not listed elsewhere, which is said once")
  func leftOut() throws {
    let simulator = Simulator(seed: 27)
    let notes = Shared<[String]>([])
    let kea = try ClaimingHost("kea", in: simulator, prefixes: [], notes: notes)
    let node = simulator.start("moa")
    node.announce()
    let manager = node.makeServer(knowsPrincipals: true) { _ in }
    let claims = (0..<80).map { number in
      Claim(
        prefix: Array("p\(number)".utf8), manager: manager, context: ContextID(rawValue: 1),
        host: "moa", clock: 1, state: .present)
    }
    for _ in 0..<3 {
      let client = node.makeClient(user: "root")
      for message in SpreadClaims.messages(claims) {
        node.sendDatagram(message.message, from: client, to: .nameHandlingGroup)
      }
      simulator.run(for: .seconds(1))
    }
    #expect(kea.directory.leftOut.map(\.prefix) == (72..<80).map { "p\($0)" })
    #expect(
      notes.value == ["p72 of moa is not listed here: moa has 72 prefixes, and a host has no more"])
  }

  @Test("a silent host that is up again is found before anybody asks for it")
  func foundBack() throws {
    let simulator = Simulator(seed: 25)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    simulator.partition("kea", "moa")
    let down = Refusal(code: .retransmissionTimeout)
    #expect(server(of: "storage/moa", from: kea, simulator) == .failure(down))
    simulator.run(for: .seconds(3600))
    simulator.heal()
    // After some minutes it is asked every 5 s.
    simulator.run(for: .seconds(6))
    #expect(server(of: "storage/moa", from: kea, simulator) == .success(moa.node.id))
  }

  @Test("a name cache asks the managers once for a prefix, until that is old")
  func askedOnce() throws {
    let simulator = Simulator(seed: 26)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src", "src/deep"])
    simulator.run(for: .seconds(5))
    let cache = NameCache(kea.node, clients: kea.clients)
    func found(_ name: String) -> QueryName.Answer? {
      let answer = outcome(simulator) { cache.query(Array(name.utf8), completion: $0) }
      guard case .done(let found, _) = answer else { return nil }
      return found
    }
    let manager = try #require(found("src/x/y")?.manager)
    #expect(manager.kernel == moa.node.id)
    for name in ["src", "src/x/y"] { #expect(found(name)?.manager == manager) }
    #expect(cache.counters.multicasts == 1)
    // Another prefix may begin further on.
    #expect(found("src/deep/x")?.prefixBytes == 8)
    #expect(cache.counters.multicasts == 2)
    #expect(found("srcs") == nil)
    cache.forget(manager)
    #expect(found("src")?.prefixBytes == 3)
    #expect(cache.counters.multicasts == 4)
    simulator.run(for: .seconds(3))
    #expect(found("src")?.prefixBytes == 3)
    #expect(cache.counters.multicasts == 5)
  }
}
