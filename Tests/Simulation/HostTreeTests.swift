import Testing
import VDirectory
import VKernel
import VKernelServers
import VNode
import VObjects
import VProtocol
import VRuntime

/// A host with a directory and the kernel servers.
private final class KernelServing: Sendable {
  let node: Node
  let directory: Directory
  let nodeServer: NodeServer
  let tree: HostTree
  let clients: ClientPool
  let traces = Shared<[Bool]>([])
  /// How often one of its managers was asked for its open instances.
  let listings = Shared(0)

  init(_ host: String, in simulator: Simulator) {
    let node = simulator.start(host)
    self.node = node
    node.announce()
    directory = Directory(node)
    nodeServer = NodeServer(
      node, kernel: node.id, addresses: ["10.77.0.1:61044"],
      register: {
        node.makeServer(
          discriminator: EntityID.nodeServerDiscriminator, knowsPrincipals: false, $0)
      },
      snapshot: {
        NodeSnapshot(
          isSealing: true, counters: [("requestsSent", 7)],
          rejected: [
            NodeSnapshot.Rejected(
              source: "10.77.0.9:61044", reason: "bad checksum", count: 2, age: .seconds(1))
          ],
          attached: nil,
          peers: node.peers.map {
            NodeSnapshot.Peer(
              kernel: $0.kernel, locator: "\($0.locator)", age: $0.age, roundTrip: $0.roundTrip,
              isSilent: $0.isSilent, isDeaf: $0.isDeaf, host: $0.host)
          })
      })
    let elsewhere = node.makeServer(knowsPrincipals: false) { [node, listings] request in
      listings.value += 1
      node.after(.milliseconds(100)) {
        node.serveInstances(request) { $0 == 0 ? [(next: 1, line: "9 elsewhere")] : [] }
      }
    }
    tree = HostTree(
      node, nodeServer,
      ProcessServer(node, states: { node.entities($0) }, clients: { node.clients }),
      HostTree.Sources(
        machine: { ["cpus 2"] }, managers: { [directory] in directory.managers.union([elsewhere]) },
        trace: { "a transaction\n" }, keepTrace: { [traces] in traces.value.append($0) }))
    clients = ClientPool(node)
    tree.manager.claim(in: directory.server) { _ in }
  }

  /// Sends an operation to a manager and waits.
  func ask<Op: Operation>(
    _ operation: Op, of manager: EntityID, _ simulator: Simulator, as user: String = "root"
  ) -> Answer<Op.Answer>? {
    outcome(simulator) {
      clients.send(operation, as: ClientUser(own: user), to: manager, completion: $0)
    }
  }

  /// Sends an operation on a path from the root of the name space.
  func name(_ path: String) -> ContextName {
    ContextName(directory.nameSpace.root, Array(path.utf8))
  }

  func open(
    _ path: String, _ mode: OpenMode, _ simulator: Simulator, as user: String = "root"
  ) -> Answer<CreateInstance.Answer>? {
    ask(CreateInstance(name(path), mode: mode), of: directory.server, simulator, as: user)
  }

  /// The text that a reader gets, and the size that its opening gave.
  func read(_ path: String, _ simulator: Simulator) -> (text: String, size: Int)? {
    guard case .done(let opened, let manager) = open(path, .read, simulator),
      case .done(let block, _) = ask(
        ReadInstance(opened.instance, position: 0, count: 16_384), of: manager, simulator)
    else { return nil }
    _ = ask(ReleaseInstance(opened.instance), of: manager, simulator)
    return (String(decoding: block.data, as: UTF8.self), Int(opened.descriptor.size))
  }

  /// The names of a context, read by at most `count` octets at a time.
  func list(_ path: String, _ simulator: Simulator, count: Int = 16_384) -> [String]? {
    guard case .done(let opened, let manager) = open(path, [.read, .directory], simulator) else {
      return nil
    }
    var names: [String] = []
    var position: UInt64 = 0
    while case .done(let block, _) = ask(
      ReadInstance(opened.instance, position: position, count: count), of: manager, simulator),
      !block.data.isEmpty
    {
      var reader = SegmentReader(block.data)
      while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
        names.append(String(decoding: record.name, as: UTF8.self))
        position = record.nextPosition
      }
    }
    _ = ask(ReleaseInstance(opened.instance), of: manager, simulator)
    return names
  }
}

@Suite("The kernel servers' names in the simulator")
struct HostTreeTests {
  private let simulator = Simulator(seed: 7)
  private let kea: KernelServing
  private let moa: KernelServing

  init() {
    kea = KernelServing("kea", in: simulator)
    moa = KernelServing("moa", in: simulator)
    simulator.run(for: .seconds(12))
  }

  private func code(_ answer: Answer<some Sendable>?) -> ReplyCode? { answer?.refusal ?? .ok }

  @Test("are below host/ and the host's name, on every host")
  func names() {
    for host in ["kea", "moa"] {
      #expect(
        kea.list("host/\(host)", simulator) == [
          "status", "time", "proc", "entity", "uio", "device", "net",
        ])
      #expect(
        kea.list("host/\(host)/device", simulator, count: 300) == [
          "null", "zero", "random", "clock",
        ])
      #expect(kea.list("host/\(host)/net", simulator) == ["stats", "map", "peers", "trace"])
    }
    #expect(kea.list("host/moa/status", simulator) == nil)
  }

  @Test("a dead peer delays no answer about the node, but the first that finds it so")
  func deadPeer() throws {
    func query() -> (answer: String, took: TimeSpan, sent: Int) {
      let (start, sent) = (simulator.now, moa.node.counters.requestsSent)
      guard
        case .done(let state, _)? = kea.ask(
          QueryNode(), of: moa.nodeServer.server, simulator)
      else { return ("", .seconds(10), 0) }
      return (state.text, simulator.now - start, moa.node.counters.requestsSent - sent)
    }
    let tui = KernelServing("tui", in: simulator)
    simulator.run(for: .seconds(5))
    let healthy = query()
    #expect(healthy.took < .milliseconds(2))
    simulator.crash("tui")
    simulator.run(for: .seconds(3))
    #expect(query().took <= .milliseconds(210))
    for _ in 0..<10 {
      let state = query()
      #expect(state.took < .milliseconds(2))
      #expect(state.answer.contains(" 10.77.0.3:61044 "))
      #expect(state.answer.contains("peer \(kea.node.id) ") && state.answer.contains(" silent "))
      simulator.run(for: .milliseconds(20))
    }
    // A question that is under way is not asked once more.
    #expect((0..<10).reduce(0) { sent, _ in sent + query().sent } <= 12)
    let back = KernelServing("tui", in: simulator)
    simulator.run(for: .seconds(3))
    let state = query()
    #expect(state.took < .milliseconds(2))
    #expect(state.answer.contains("\(back.node.id) tui 10.77.0.3:61044 "))
    _ = tui
  }

  @Test("a live text has the size that it shows, and does not change while it is open")
  func text() throws {
    for file in ["status", "time", "entity", "uio", "net/stats", "net/map", "net/peers"] {
      let read = try #require(kea.read("host/moa/\(file)", simulator))
      #expect(read.size == read.text.utf8.count && read.size > 0, "\(file)")
      #expect(read.text.hasSuffix("\n"))
    }
    let status = try #require(kea.read("host/moa/status", simulator)).text
    #expect(status.contains("host moa\n") && status.contains("cpus 2\n"))
    #expect(
      try #require(kea.read("host/moa/net/stats", simulator)).text.contains(
        "requestsSent 7 requests\ndropped 2 packets bad checksum\n"))
    let peers = try #require(kea.read("host/moa/net/peers", simulator)).text
    #expect(peers.hasPrefix("peer \(kea.node.id) kea ") && peers.contains(" alive 0\n"))
    #expect(peers.hasSuffix("rejected 10.77.0.9:61044 2 1000 bad checksum\n"))

    guard case .done(let first, let manager) = kea.open("host/moa/time", .read, simulator) else {
      Issue.record("not opened")
      return
    }
    simulator.run(for: .seconds(1))
    func octets() -> [UInt8]? {
      guard
        case .done(let block, _) = kea.ask(
          ReadInstance(first.instance, position: 0, count: 100), of: manager, simulator)
      else { return nil }
      return block.data
    }
    let before = octets()
    simulator.run(for: .seconds(1))
    #expect(octets() == before)
    // A client that has it open gets the size of the open text, by name and by instance.
    for answer in [
      kea.ask(QueryObject(kea.name("host/moa/time")), of: kea.directory.server, simulator),
      kea.ask(QueryInstance(first.instance), of: manager, simulator),
    ] {
      guard case .done(let descriptor, _) = answer else {
        Issue.record("not described")
        continue
      }
      #expect(descriptor.changed == first.descriptor.changed)
      #expect(descriptor.size == first.descriptor.size)
    }
    #expect(kea.read("host/moa/time", simulator)?.text.utf8.elementsEqual(before ?? []) == false)
  }

  @Test("opening the list of instances while it is being made shares the next question")
  func jointAsking() {
    #expect(kea.read("host/moa/uio", simulator) != nil)
    let once = moa.listings.value
    let opened = Shared<[ReplyCode]>([])
    for _ in 0..<8 {
      let operation = CreateInstance(kea.name("host/moa/uio"), mode: .read)
      kea.clients.send(operation, as: "root", to: kea.directory.server) { answer in
        opened.value.append(answer.refusal ?? .ok)
      }
    }
    simulator.run(for: .seconds(5)) { opened.value.count == 8 }
    #expect(opened.value == Array(repeating: .ok, count: 8))
    #expect(once > 0 && moa.listings.value == 3 * once)
    #expect(kea.read("host/moa/uio", simulator) != nil && moa.listings.value == 4 * once)
  }

  @Test("each process has a name, and is found by its entity")
  func processes() throws {
    let client = moa.node.makeClient(user: "ann")
    let names = try #require(kea.list("host/moa/proc", simulator))
    #expect(names.contains("\(client)"))
    #expect(Set(names).count == names.count)
    let text = try #require(kea.read("host/moa/proc/\(client)", simulator)).text
    #expect(text == "entity \(client)\nkind client\nuser ann\nstate ready\nawaits -\n")
    let answer = kea.ask(QueryProcess(client), of: .processGroup, simulator)
    guard case .done(let found, let server) = answer else {
      Issue.record("\(String(describing: answer))")
      return
    }
    #expect(found.text == text && server.kernel == moa.node.id)
    let entities = try #require(kea.read("host/moa/entity", simulator)).text
    #expect(entities.contains("\(client) client ann ready - -\n"))
    #expect(entities.contains("group \(EntityID.processGroup) "))
    // The reader is a client of moa, and so is the one that opened it.
    #expect(entities.contains(" root@kea \(moa.tree.manager.server)\n"))
    moa.node.retire(client)
    #expect(code(kea.ask(QueryProcess(client), of: .processGroup, simulator)) == .nonexistentEntity)
    #expect(code(kea.open("host/moa/proc/\(client)", .read, simulator)) == .notFound)
  }

  @Test("devices behave as their attributes say")
  func devices() {
    func open(_ device: String, _ mode: OpenMode) -> (InstanceID, EntityID, UIOAttributes)? {
      guard
        case .done(let opened, let manager) = kea.open(
          "host/moa/device/\(device)", mode, simulator, as: "ann")
      else { return nil }
      return (opened.instance, manager, opened.attributes)
    }
    func read(_ device: String, _ position: UInt64, _ count: Int) -> [UInt8]? {
      guard let (instance, manager, _) = open(device, .read),
        case .done(let block, _) = kea.ask(
          ReadInstance(instance, position: position, count: count), of: manager, simulator,
          as: "ann")
      else { return nil }
      return block.data
    }
    #expect(read("null", 0, 100) == [])
    #expect(read("zero", 1 << 60, 20_000) == [UInt8](repeating: 0, count: 16_384))
    let chance = read("random", 0, 1000) ?? []
    #expect(chance.count == 1000 && Set(chance).count > 100)
    #expect(read("random", 0, 1000) != chance)
    for device in ["null", "zero", "random", "clock"] {
      let attributes = open(device, .read)?.2 ?? []
      #expect(attributes.contains([.readable, .randomAccess]) && !attributes.contains(.storage))
      let written = open(device, [.write, .truncate])
      #expect((written != nil) == attributes.contains(.writeable), "\(device)")
      #expect((written != nil) == (device != "clock"))
      guard let (instance, manager, _) = written else { continue }
      let answer = kea.ask(
        WriteInstance(instance, position: 0, data: [1, 2, 3]), of: manager, simulator, as: "ann")
      guard case .done(let result, _) = answer else {
        Issue.record("\(device) does not take octets")
        continue
      }
      #expect(result.count == 3)
    }
    // The clock goes on while it is open, and its line is never torn.
    guard let (clock, manager, _) = open("clock", .read) else {
      Issue.record("there is no clock")
      return
    }
    func part(_ position: UInt64, _ count: Int) -> String {
      guard
        case .done(let block, _) = kea.ask(
          ReadInstance(clock, position: position, count: count), of: manager, simulator, as: "ann")
      else { return "" }
      return String(decoding: block.data, as: UTF8.self)
    }
    let first = part(0, 100)
    #expect(first.utf8.count == 21 && part(21, 100) == "")
    simulator.run(for: .seconds(1))
    #expect(part(3, 100) == first.dropFirst(3))
    #expect(part(0, 100) > first)
  }

  @Test("nothing can be made, removed or changed, and each refusal has its reason")
  func refusals() {
    func code(_ operation: some Operation) -> ReplyCode? {
      self.code(kea.ask(operation, of: kea.directory.server, simulator))
    }
    let status = kea.name("host/moa/status")
    #expect(code(RemoveName(status, isContext: false)) == .notOwner)
    #expect(code(RemoveName(kea.name("host/moa"), isContext: true)) == .notOwner)
    #expect(code(RemoveName(kea.name("host/moa/net"), isContext: true)) == .notOwner)
    #expect(
      code(AddName(kea.name("host/moa/x"), kind: .context, permissions: 0o755)) == .notOwner)
    #expect(code(CreateInstance(kea.name("host/moa/x"), mode: [.write, .create])) == .notOwner)
    #expect(code(CreateInstance(kea.name("host/moa/x"), mode: .read)) == .notFound)
    #expect(code(CreateInstance(kea.name("host/moa/status/x"), mode: .read)) == .notContext)
    #expect(code(CreateInstance(kea.name("host/moa"), mode: .read)) == .isContext)
    #expect(code(CreateInstance(status, mode: .write)) == .noPermission)
    #expect(code(CheckAccess(status, mask: 2)) == .noPermission)
    #expect(code(CheckAccess(status, mask: 4)) == .ok)
    #expect(code(ReadLink(status)) == .badArguments)
    var modification = Modification()
    modification.permissions = 0o777
    #expect(code(ModifyObject(kea.name("host/moa/device/null"), modification)) == .notOwner)
  }

  @Test("root of a host alone may command it")
  func commands() {
    func write(_ text: String, on host: KernelServing, as user: String) -> ReplyCode? {
      let opened = host.open("host/moa/net/trace", [.write, .truncate], simulator, as: user)
      guard case .done(let created, let manager) = opened else { return code(opened) }
      return code(
        host.ask(
          WriteInstance(created.instance, position: 0, data: Array(text.utf8)), of: manager,
          simulator, as: user))
    }
    #expect(write("on\n", on: kea, as: "root") == .noPermission)
    #expect(write("on\n", on: moa, as: "ann") == .noPermission)
    #expect(write("loud\n", on: moa, as: "root") == .badArguments)
    #expect(write("on\n", on: moa, as: "root") == .ok)
    #expect(write("off", on: moa, as: "root") == .ok)
    #expect(moa.traces.value == [true, false])
  }

  @Test("open instances are listed, and freed when their owner has ended")
  func instances() throws {
    let owner = kea.node.makeClient(user: "ann")
    for _ in 0..<100 {
      _ = kea.ask(
        CreateInstance(kea.name("host/moa/status"), mode: .read, owner: owner),
        of: kea.directory.server, simulator)
    }
    func open() throws -> [Substring] {
      try #require(kea.read("host/moa/uio", simulator)).text.split(separator: "\n")
    }
    #expect(try open().first == "- elsewhere")
    #expect(try open().filter { $0.hasSuffix(" \(owner) kea read status") }.count == 100)
    kea.node.retire(owner)
    simulator.run(for: .seconds(5))
    #expect(try open().count == 1)
    // The cable is pulled: after 10 s its instances are given up.
    #expect(code(kea.open("host/moa/status", .read, simulator)) == .ok)
    #expect(moa.tree.manager.instanceCount == 1)
    simulator.crash("kea")
    simulator.run(for: .seconds(20))
    #expect(moa.tree.manager.instanceCount == 0)
  }

  @Test("an instance can be used only from the host that opened it")
  func foreign() {
    guard case .done(let opened, let manager) = kea.open("host/moa/status", .read, simulator) else {
      Issue.record("not opened")
      return
    }
    let read = ReadInstance(opened.instance, position: 0, count: 10)
    #expect(code(moa.ask(read, of: manager, simulator)) == .noPermission)
    #expect(code(kea.ask(read, of: manager, simulator)) == .ok)
    #expect(code(kea.ask(ReleaseInstance(opened.instance), of: manager, simulator)) == .ok)
    #expect(code(kea.ask(read, of: manager, simulator)) == .invalidFileID)
    #expect(code(kea.ask(ReleaseInstance(opened.instance), of: manager, simulator)) == .ok)
  }
}
