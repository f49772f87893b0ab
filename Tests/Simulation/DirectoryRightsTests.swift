import Testing
import VDirectory
import VKernel
import VNode
import VProtocol
import VRuntime

@Suite("Rights and shares at the directory, in the simulator")
struct DirectoryRightsTests {
  private func code(
    _ operation: some VProtocol.Operation, as user: ClientUser, from node: Node,
    to host: ClaimingHost,
    _ simulator: Simulator
  ) -> ReplyCode? {
    let clients = ClientPool(node)
    return outcome(simulator) { completion in
      clients.send(operation, as: user, to: host.directory.server) {
        completion($0.refusal ?? .ok)
      }
    }
  }

  private func name(_ text: String, _ host: ClaimingHost) -> ContextName {
    ContextName(host.directory.nameSpace.root, Array(text.utf8))
  }

  @Test("only root of the own host with all of its rights claims, for managers of its kernel")
  func claims() throws {
    let simulator = Simulator(seed: 51)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(2))
    func claim(_ manager: EntityID) -> ClaimName {
      ClaimName(prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: manager)
    }
    let own = claim(kea.directory.server)
    for (user, node) in [
      ("ann", kea.node), (ClientUser("root", marks: []), kea.node), ("root", moa.node),
    ] as [(ClientUser, Node)] {
      #expect(code(own, as: user, from: node, to: kea, simulator) == .noPermission)
    }
    for manager: EntityID in [moa.directory.server, .nameHandlingGroup, .none] {
      #expect(
        code(claim(manager), as: "root", from: kea.node, to: kea, simulator) == .noPermission)
    }
    #expect(code(own, as: "root", from: kea.node, to: kea, simulator) == .ok)
  }

  @Test("who is asked for a name cannot use the rights of the directory that asks")
  func deputy() throws {
    let simulator = Simulator(seed: 57)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    let claim = ClaimName(
      prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: kea.directory.server)
    let asked = Shared(0)
    let server = moa.node.makeServer(knowsPrincipals: true) {
      [node = moa.node, own = kea.directory.server] request in
      guard request.client.kernel == own.kernel, request.message.mcb.code == QueryName.code
      else { return }
      asked.value += 1
      node.forward(request, claim.message, to: own)
    }
    moa.node.join(server, group: .nameHandlingGroup)
    simulator.run(for: .seconds(2))
    _ = code(QueryObject(name("nowhere/x", kea)), as: "ann", from: kea.node, to: kea, simulator)
    #expect(asked.value > 0 && kea.directory.holder(of: Array("src".utf8)) == nil)
  }

  @Test("each client opens a shared context for itself, with a number that cannot be guessed")
  func instances() throws {
    let simulator = Simulator(seed: 52)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(2))
    let opening = CreateInstance(name("storage", kea), mode: [.read, .directory])
    let opened = outcome(simulator) {
      kea.clients.send(opening, as: "ann", to: kea.directory.server, completion: $0)
    }
    guard case .done(let answer, _) = opened else {
      Issue.record("not opened: \(String(describing: opened))")
      return
    }
    let (instance, context) = (answer.instance, answer.descriptor.context)
    #expect(instance.rawValue > 1 << 32 && context.rawValue > 1 << 32)
    #expect(instance.rawValue != context.rawValue)
    let read = ReadInstance(instance, position: 0, count: 16_384)
    for user: ClientUser in ["eve", "root"] {
      #expect(code(read, as: user, from: kea.node, to: kea, simulator) == .noPermission)
      let release = ReleaseInstance(instance)
      #expect(code(release, as: user, from: kea.node, to: kea, simulator) == .noPermission)
      // The context is for everybody.
      let query = QueryObject(ContextName(context))
      #expect(code(query, as: user, from: kea.node, to: kea, simulator) == .ok)
    }
    func own(_ operation: some VProtocol.Operation) -> ReplyCode? {
      code(operation, as: "ann", from: kea.node, to: kea, simulator)
    }
    #expect(own(read) == .ok)
    #expect(own(ReadInstance(instance, position: 0, count: 1)) == .badByteCount)
    #expect(own(WriteInstance(instance, position: 0, data: [1])) == .notWriteable)
    #expect(own(ListAttributes(name("storage", kea))) == .notSupported)
    #expect(own(ReleaseInstance(instance)) == .ok && own(read) == .invalidFileID)
    for number: UInt64 in [2, 3, 4] {
      let guess = QueryObject(ContextName(ContextID(rawValue: number)))
      #expect(own(guess) == .invalidContext)
      #expect(own(QueryInstance(InstanceID(rawValue: number))) == .invalidFileID)
    }
    for mode: OpenMode in [[], [.write, .directory], OpenMode(rawValue: 0x8041)] {
      let opening = CreateInstance(name("storage", kea), mode: mode)
      #expect(own(opening) == .modeNotSupported)
    }
  }

  @Test(
    "endless questions for unknown names are refused; others are answered as before"
  )
  func searches() throws {
    let simulator = Simulator(seed: 53)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(10))
    #expect(
      code(QueryObject(name("src", kea)), as: "ann", from: kea.node, to: kea, simulator)
        == .notFound)
    let before = kea.node.counters.multicastsSent
    let clients = ClientPool(kea.node)
    let codes = Shared<[ReplyCode]>([])
    for number in 0..<2000 {
      clients.send(
        QueryObject(name("e\(number)", kea)), as: "eve", to: kea.directory.server
      ) { answer in codes.value.append(answer.refusal ?? .ok) }
    }
    let found = Shared<ReplyCode?>(nil)
    clients.send(QueryObject(name("doc", kea)), as: "ann", to: kea.directory.server) { answer in
      found.value = answer.refusal ?? .ok
    }
    simulator.run(for: .milliseconds(400)) { codes.value.count == 2000 && found.value != nil }
    let share = DirectoryLimits.searchesMax / 4
    #expect(codes.value.count { $0 == .noServerResources } == 2000 - share)
    #expect(codes.value.count { $0 == .notFound } == share)
    #expect(found.value == .notFound)
    // A question may be repeated while it waits; the directory's own spreading counts too.
    #expect(kea.node.counters.multicastsSent - before < 10 * (share + 1))
    let after = kea.node.counters.multicastsSent
    #expect(
      code(QueryObject(name("src", kea)), as: "ann", from: kea.node, to: kea, simulator)
        == .notFound)
    #expect(kea.node.counters.multicastsSent == after, "it is known still")
  }

  @Test("another host is not believed about this host's managers")
  func foreignClaims() throws {
    let simulator = Simulator(seed: 54)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    let liar = simulator.start("tui")
    let client = liar.makeClient(user: "root")
    for (prefix, manager) in [("src", kea.directory.server), ("new", kea.directory.server)] {
      let claim = Claim(
        prefix: Array(prefix.utf8), manager: manager, context: ContextID(rawValue: 1),
        host: "tui", clock: 1_700_000_100_000_000_000, state: .present)
      liar.sendDatagram(
        SpreadClaims([claim], wantsAnswer: false).message, from: client, to: .nameHandlingGroup)
    }
    simulator.run(for: .seconds(1))
    #expect(kea.directory.holder(of: Array("src".utf8)) == "moa")
    #expect(kea.directory.holder(of: Array("new".utf8)) == nil)
    _ = moa
  }

  @Test("a host whose claims never end is asked for a whole table at most, and ever more rarely")
  func endlessClaims() throws {
    let simulator = Simulator(seed: 57)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(5))
    let liar = simulator.start("tui")
    let asked = Shared(0)
    let server = liar.makeServer(knowsPrincipals: false) { [unowned liar] request in
      guard let query = try? QueryClaims(parsing: request.message) else { return }
      asked.value += 1
      liar.reply(QueryClaims.Answer(next: query.start + 1, claims: []), to: request)
    }
    var digest = ClaimDigest()
    digest.add(
      Claim(
        prefix: Array("src".utf8), manager: server, context: ContextID(rawValue: 1), host: "tui",
        clock: 1, state: .present))
    let client = liar.makeClient(user: "root")
    for _ in 0..<60 {
      liar.sendDatagram(
        SpreadDigest(server, digest, []).message, from: client, to: .nameHandlingGroup)
      simulator.run(for: .seconds(1))
    }
    // After 0, 1, 2, 4, 8, 16 and 32 s.
    #expect(200...1400 ~= asked.value)
    _ = kea
  }

  @Test("a host that asks for claims all the time is answered once in a while")
  func askedForClaims() throws {
    let simulator = Simulator(seed: 55)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(10))
    let asker = simulator.start("tui")
    let client = asker.makeClient(user: "root")
    let before = kea.node.counters.multicastsSent
    for _ in 0..<18 {
      for _ in 0..<50 {
        asker.sendDatagram(
          SpreadClaims([], wantsAnswer: true).message, from: client, to: .nameHandlingGroup)
      }
      simulator.run(for: .milliseconds(50))
    }
    #expect(kea.node.counters.multicastsSent == before + 1)
    simulator.run(for: .milliseconds(500))
    #expect(kea.node.counters.multicastsSent == before + 2)
  }

  @Test("a manager gives up a prefix only for its host's full root")
  func losses() throws {
    let simulator = Simulator(seed: 56)
    let kea = try ClaimingHost("kea", in: simulator, prefixes: [])
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    guard case .done(_, let manager)? = outcome(simulator, { moa.walk("src", $0) }) else {
      Issue.record("src is not served")
      return
    }
    let claim = Claim(
      prefix: Array("src".utf8), manager: kea.directory.server, context: ContextID(rawValue: 1),
      host: "kea", clock: 1_700_000_100_000_000_000, state: .present)
    let news = SpreadClaims([claim], wantsAnswer: false).message
    for (user, node) in [
      (ClientUser("root", marks: []), moa.node), ("ann", moa.node), ("root", kea.node),
    ] as [(ClientUser, Node)] {
      node.sendDatagram(news, from: node.makeClient(user), to: manager)
      simulator.run(for: .seconds(1))
      #expect(moa.refusals.value.isEmpty, "\(user.name) of \(node.host)")
    }
    moa.node.sendDatagram(news, from: moa.node.makeClient("root"), to: manager)
    simulator.run(for: .seconds(1))
    #expect(moa.refusals.value == [.duplicateName])
  }
}
