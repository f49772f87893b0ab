import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime

/// Processes that move from one host to another while others send to them, and they to others.
@Suite("Entities that move")
struct MovingEntityTests {
  /// A process that can be moved: a server that counts and takes its time, or a client.
  private final class Process: @unchecked Sendable {
    let simulator: Simulator
    private(set) var node: Node
    private(set) var entity = EntityID.none
    /// While it moves, it does nothing; what it was about to do waits.
    private var isStopped = false
    private var later: [() -> Void] = []
    private(set) var executions: [UInt32: Int] = [:]

    init(_ simulator: Simulator, on node: Node) { (self.simulator, self.node) = (simulator, node) }

    /// Serves: reverses the segment of each request, after `delays` at random.
    func serve(delays: Int64 = 0) {
      entity = node.makeServer(knowsPrincipals: true) { [unowned self] request in
        executions[request.message.mcb[3], default: 0] += 1
        principals.insert(request.principal?.description ?? "-")
        var mcb = MessageControlBlock()
        mcb[3] = request.message.mcb[3]
        let answer = Message(mcb, segment: request.message.segment.reversed())
        let span = delays == 0 ? 0 : simulator.random() % UInt64(delays)
        simulator.schedule(after: .microseconds(Int64(span))) { [self] in
          act { [self] in node.reply(answer, to: request) }
        }
      }
    }
    var principals: Set<String> = []

    /// Sends requests one after another, and counts how each ended.
    func ask(
      _ count: Int, of server: @escaping @Sendable (Int) -> EntityID, first: UInt32 = 0,
      bytes: @escaping @Sendable (Int) -> Int = { _ in 0 }
    ) {
      entity = node.makeClient(user: "ann")
      sendNext(0, count, server, first, bytes)
    }

    private func sendNext(
      _ index: Int, _ count: Int, _ server: @escaping @Sendable (Int) -> EntityID, _ first: UInt32,
      _ bytes: @escaping @Sendable (Int) -> Int
    ) {
      guard index < count else {
        isDone = true
        return
      }
      let number = first + UInt32(index)
      var mcb = MessageControlBlock(code: 0x7701)
      mcb[3] = number
      let segment = (0..<bytes(index)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ index) }
      node.send(
        Message(mcb, segment: segment), from: entity, to: server(index), options: SendOptions()
      ) { [self] response in
        codes[response.code, default: 0] += 1
        guard response.code.isOK else {
          return simulator.schedule(after: .milliseconds(20)) { [self] in
            act { [self] in sendNext(index + 1, count, server, first, bytes) }
          }
        }
        answered.insert(number)
        if response.message.mcb[3] != number || response.message.segment != segment.reversed() {
          wrong += 1
        }
        act { [self] in sendNext(index + 1, count, server, first, bytes) }
      }
    }
    private(set) var isDone = false
    private(set) var codes: [ReplyCode: Int] = [:]
    private(set) var answered: Set<UInt32> = []
    private(set) var wrong = 0

    private func act(_ body: @escaping () -> Void) {
      if isStopped { later.append(body) } else { body() }
    }

    /// Moves to another node; the image is on its way for `span`.
    ///
    /// `isTaken` false: the other node does not take it, and it goes on where it was.
    func move(to next: Node, taking span: TimeSpan, isTaken: Bool = true) {
      guard !isStopped, next.id != node.id, let moving = node.freeze(entity, for: next.id)
      else { return }
      isStopped = true
      simulator.schedule(after: span) { [self] in
        let old = node
        if isTaken && next.adopt(moving) {
          node = next
          old.release(entity)
        } else {
          #expect(old.adopt(moving))
        }
        isStopped = false
        let bodies = later
        later = []
        for body in bodies { body() }
      }
    }
    var isMoving: Bool { isStopped }
  }

  private static let key = [UInt8](repeating: 7, count: 32)

  private struct Hosts {
    let simulator: Simulator
    var nodes: [Node]

    init(seed: UInt64, _ faults: Faults = Faults()) {
      simulator = Simulator(seed: seed)
      nodes = ["kea", "moa", "tui"].map { [simulator] in
        simulator.start($0, secret: MovingEntityTests.key)
      }
      for node in nodes { node.announce() }
      simulator.run(for: .seconds(1))
      simulator.faults = faults
    }

    var kea: Node { nodes[0] }
    var moa: Node { nodes[1] }
    var tui: Node { nodes[2] }
  }

  /// A client of kea sends `count` requests to a server, and `move` is called while the second is
  /// at work.
  private func asking(
    _ count: Int, of host: Node, _ hosts: Hosts, _ move: (Process, Process) -> Void
  ) -> (client: Process, server: Process) {
    let server = Process(hosts.simulator, on: host)
    server.serve(delays: 50_000)
    let client = Process(hosts.simulator, on: hosts.kea)
    let entity = server.entity
    client.ask(count, of: { _ in entity }, bytes: { _ in 3000 })
    hosts.simulator.run(for: .seconds(1)) { server.executions[1] == 1 }
    move(server, client)
    hosts.simulator.run(for: .seconds(5)) { client.isDone }
    return (client, server)
  }

  @Test("I6: a server moves in the middle of a transaction, which completes, executed once")
  func serverMoves() {
    let hosts = Hosts(seed: 1)
    let (client, server) = asking(4, of: hosts.moa, hosts) { server, client in
      server.move(to: hosts.tui, taking: .milliseconds(300))
    }
    #expect(client.codes == [.ok: 4] && client.wrong == 0)
    #expect(server.executions == [0: 1, 1: 1, 2: 1, 3: 1])
    #expect(hosts.kea.kernel(of: server.entity) == hosts.tui.id)
  }

  @Test("a client moves in the middle of a transaction, and keeps its principal")
  func clientMoves() {
    let hosts = Hosts(seed: 2)
    let (client, server) = asking(4, of: hosts.tui, hosts) { server, client in
      client.move(to: hosts.moa, taking: .milliseconds(300))
    }
    #expect(client.codes == [.ok: 4] && client.wrong == 0)
    #expect(server.executions == [0: 1, 1: 1, 2: 1, 3: 1])
    #expect(server.principals == ["ann@kea"])
  }

  @Test("one that no other host takes goes on where it was")
  func notTaken() {
    let hosts = Hosts(seed: 3)
    let server = Process(hosts.simulator, on: hosts.moa)
    server.serve(delays: 20_000)
    let (near, far) = (
      Process(hosts.simulator, on: hosts.moa), Process(hosts.simulator, on: hosts.kea)
    )
    let entity = server.entity
    near.ask(20, of: { _ in entity })
    far.ask(20, of: { _ in entity }, first: 100)
    for _ in 0..<5 {
      hosts.simulator.run(for: .milliseconds(15))
      server.move(to: hosts.tui, taking: .milliseconds(30), isTaken: false)
      hosts.simulator.run(for: .seconds(1)) { !server.isMoving }
    }
    hosts.simulator.run(for: .seconds(10)) { near.isDone && far.isDone }
    #expect(near.codes == [.ok: 20] && far.codes == [.ok: 20])
    #expect(server.executions.values.allSatisfy { $0 == 1 })
  }

  @Test(
    "servers and clients that move under load and loss lose nothing, and nothing is done twice",
    arguments: seeds)
  func storm(seed: UInt64) {
    let hosts = Hosts(seed: seed, Faults(loss: 10, duplication: 5, reordering: 10))
    let simulator = hosts.simulator
    let servers = hosts.nodes.map { Process(simulator, on: $0) }
    for server in servers { server.serve(delays: 3000) }
    let entities = servers.map(\.entity)
    let sizes = [0, 1, 512, 513, 5000, 16_384]
    let clients = (0..<6).map { Process(simulator, on: hosts.nodes[$0 % 3]) }
    for (index, client) in clients.enumerated() {
      client.ask(
        40, of: { entities[($0 + index) % 3] }, first: UInt32(index * 1000),
        bytes: { sizes[$0 % sizes.count] })
    }
    let movers = servers + clients.prefix(3)
    while !clients.allSatisfy(\.isDone) && simulator.now < Time(nanoseconds: 300_000_000_000) {
      simulator.run(for: .milliseconds(Int64(simulator.random() % 40)))
      let mover = movers[Int(simulator.random() % UInt64(movers.count))]
      mover.move(
        to: hosts.nodes[Int(simulator.random() % 3)],
        taking: .milliseconds(Int64(simulator.random() % 60)),
        isTaken: simulator.random() % 4 != 0)
    }
    for (index, client) in clients.enumerated() {
      let isWhole = client.codes == [.ok: 40] && client.wrong == 0
      #expect(isWhole, "\(index): \(client.codes), replay with V_SEED=\(seed)")
    }
    for server in servers {
      #expect(server.executions.values.allSatisfy { $0 == 1 }, "replay with V_SEED=\(seed)")
    }
  }

  @Test(
    "the host that a server has left ends, and its clients find it, with at most one execution",
    arguments: seeds)
  func homeEnds(seed: UInt64) {
    var hosts = Hosts(seed: seed)
    let simulator = hosts.simulator
    let server = Process(simulator, on: hosts.moa)
    server.serve(delays: 3000)
    let entity = server.entity
    let (before, after) = (Process(simulator, on: hosts.kea), Process(simulator, on: hosts.kea))
    before.ask(300, of: { _ in entity })
    simulator.run(for: .milliseconds(Int64(simulator.random() % 100)))
    server.move(to: hosts.tui, taking: .milliseconds(20))
    simulator.run(for: .seconds(1)) { !server.isMoving }
    simulator.run(for: .milliseconds(Int64(simulator.random() % 5)))
    simulator.crash("moa")
    if seed % 2 == 0 {
      hosts.nodes[1] = simulator.start("moa", secret: Self.key)
      hosts.moa.announce()
    }
    simulator.run(for: .seconds(20)) { before.isDone }
    // One that has never asked for it finds it too.
    after.ask(10, of: { _ in entity }, first: 1000)
    simulator.run(for: .seconds(20)) { after.isDone }
    #expect(before.isDone && after.isDone && before.wrong + after.wrong == 0)
    #expect(server.executions.values.allSatisfy { $0 == 1 }, "replay with V_SEED=\(seed)")
    #expect(before.codes[.ok] ?? 0 >= 298, "\(before.codes), V_SEED=\(seed)")
    #expect(after.codes[.ok] ?? 0 >= 9, "\(after.codes), V_SEED=\(seed)")
    // Only what was executed was answered.
    #expect(before.answered.union(after.answered).isSubset(of: server.executions.keys))
  }

  @Test("the host that a server has moved to ends: its clients learn it, and nothing is done twice")
  func newHostEnds() {
    let hosts = Hosts(seed: 8)
    let server = Process(hosts.simulator, on: hosts.moa)
    server.serve(delays: 3000)
    let entity = server.entity
    let client = Process(hosts.simulator, on: hosts.kea)
    client.ask(100, of: { _ in entity })
    hosts.simulator.run(for: .milliseconds(20))
    server.move(to: hosts.tui, taking: .milliseconds(20))
    hosts.simulator.run(for: .milliseconds(60))
    hosts.simulator.crash("tui")
    hosts.simulator.run(for: .seconds(60)) { client.isDone }
    #expect(client.isDone && client.codes.count > 1)
    #expect(server.executions.values.allSatisfy { $0 == 1 })
  }
}
