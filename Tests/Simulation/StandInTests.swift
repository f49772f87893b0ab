import NetworkFaults
import Testing
import VClient
import VDirectory
import VFileServer
import VNode
import VProtocol
import VRuntime
import VStandIn

/// moa, on which a server of `notes/moa` is started when it is used, and a program on kea.
private final class World {
  let simulator: Simulator
  let moa: ClaimingHost
  let program: ClientHost
  let standIn: StandIn
  let starts = Shared(0)
  /// The server that runs.
  let running = Shared<FileServer?>(nil)
  let claims = Shared<[ReplyCode]>([])

  /// `starting` is called when the server is to start.
  init(
    seed: UInt64, faults: Faults = Faults(),
    starting: @escaping @Sendable (ClaimingHost, Shared<FileServer?>) -> Void = World.start
  ) throws {
    simulator = Simulator(seed: seed)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    self.moa = moa
    program = ClientHost(kea, simulator)
    standIn = StandIn(
      moa.node, prefix: Array("notes/moa".utf8), directory: moa.directory.server
    ) { [starts, running] in
      starts.value += 1
      starting(moa, running)
    }
    serve()
    simulator.run(for: .seconds(5))
    simulator.faults = faults
  }

  func serve() { standIn.serve { [claims] in claims.value.append($0) } }

  /// A server that takes a while to start, as a process does.
  static let start: @Sendable (ClaimingHost, Shared<FileServer?>) -> Void = { moa, running in
    moa.node.after(.milliseconds(300)) {
      let server = try? FileServer(
        moa.node, store: ClaimingHost.disk(["a": Array("note".utf8)]), users: FixedUsers(),
        exports: [Export(prefix: Array("notes/moa".utf8), path: "/", rootHosts: ["*"])])
      running.value = server
      server?.claim(in: moa.directory.server) { _, _ in }
    }
  }

  func readNote() throws -> String {
    let id = try program.find("notes/moa/a")
    let open = try program.open(id, .read)
    return try program.read(open)
  }
}

@Suite("A server that is started when it is used, in the simulator")
struct StandInTests {
  @Test("is started by the first of many requests, which all get its answer", arguments: seeds)
  func first(seed: UInt64) throws {
    let world = try World(seed: seed, faults: Faults(loss: 3, duplication: 2, reordering: 10))
    #expect(world.starts.value == 0 && world.claims.value == [.ok], "V_SEED=\(seed)")
    let other = ClientHost(world.moa, world.simulator)
    let early = Shared<[ReplyCode]>([])
    for client in [world.program.client, other.client] {
      let call = Call(client, by: OneCaller("root"))
      call.find(Array("notes".utf8), below: ObjectTable.root) { answer in
        guard case .done(let descriptor, let manager) = answer else { return }
        let id = client.enter(
          descriptor, of: manager, below: ObjectTable.root, Array("notes".utf8)
        ).id
        Call(client, by: OneCaller("root")).find(Array("moa".utf8), below: id) { answer in
          early.value.append(answer.refusal ?? .ok)
        }
      }
    }
    world.simulator.run(for: .seconds(5)) { early.value.count == 2 }
    #expect(early.value == [.ok, .ok], "V_SEED=\(seed)")
    #expect(try world.readNote() == "note", "V_SEED=\(seed)")
    #expect(world.starts.value == 1, "V_SEED=\(seed)")
  }

  @Test("is started again by the first use after it ended")
  func again() throws {
    let world = try World(seed: 2)
    #expect(try world.readNote() == "note")
    guard
      case .done(_, let manager)? = outcome(world.simulator, { world.moa.walk("notes/moa", $0) })
    else { throw ClientHost.Refused(code: .notFound) }
    world.moa.node.retire(manager)
    world.running.value = nil
    world.serve()
    world.simulator.run(for: .seconds(2))
    #expect(world.claims.value == [.ok, .ok] && world.starts.value == 1)
    #expect(try world.readNote() == "note")
    #expect(world.starts.value == 2)
  }

  @Test("is waited for a limited time: then requests are refused, and the next one starts it again")
  func never() throws {
    let world = try World(seed: 3) { _, _ in }
    let call = Call(world.program.client, by: OneCaller("root"))
    let refusal = Shared<ReplyCode?>(nil)
    call.walk(Array("notes/moa/a".utf8)) { refusal.value = $0.refusal }
    world.simulator.run(for: .seconds(40)) { refusal.value != nil }
    #expect(refusal.value == .retransmissionTimeout)
    let starts = world.starts.value
    call.walk(Array("notes/moa/a".utf8)) { _ in }
    world.simulator.run(for: .seconds(1))
    #expect(starts > 0 && world.starts.value == starts + 1)
  }

  @Test("one user's requests that wait leave room for others'")
  func shares() throws {
    let world = try World(seed: 4) { _, _ in }
    let refused = Shared(0)
    // A quarter of the room is one user's.
    for _ in 0..<100 {
      let client = world.moa.node.makeClient(user: "ann")
      world.moa.node.send(
        QueryObject(ContextName(.none, Array("notes/moa".utf8))), from: client,
        to: world.moa.directory.server
      ) { answer in if answer.refusal == .busy { refused.value += 1 } }
    }
    world.simulator.run(for: .seconds(1))
    #expect(refused.value == 36)
    let isAnswered = Shared(false)
    let root = world.moa.node.makeClient(user: "root")
    world.moa.node.send(
      QueryObject(ContextName(.none, Array("notes/moa".utf8))), from: root,
      to: world.moa.directory.server
    ) { answer in isAnswered.value = answer.refusal == .busy }
    world.simulator.run(for: .seconds(1))
    #expect(!isAnswered.value)
  }

  @Test("one server at a time is started, and one that ends at once gets longer and longer pauses")
  func pauses() {
    var starts = ServerStarts()
    var now = Time(nanoseconds: 5_000_000_000)
    #expect(starts.prepare(at: now) == .seconds(0))
    #expect(starts.prepare(at: now) == nil, "one that waits for its pause is no other's to start")
    for pause: Int64 in [1, 2, 4, 8, 16, 32, 60, 60] {
      starts.begin(at: now)
      #expect(starts.prepare(at: now) == nil)
      starts.end(at: now)
      #expect(starts.prepare(at: now) == .seconds(pause))
      now = now + .seconds(pause)
    }
    starts.begin(at: now)
    now = now + .seconds(2)
    starts.end(at: now)
    #expect(starts.prepare(at: now) == .seconds(0))
  }
}
