import NetworkFaults
import Testing
import VClient
import VKernel
import VNode
import VProtocol
import VRuntime
import VStore

/// A client on kea of files on moa; moa's disk outlives its boots.
///
/// `@unchecked Sendable`: the simulator is one thread.
private final class World: @unchecked Sendable {
  let simulator: Simulator
  let disk: MemoryStore
  let kea: ClaimingHost
  private(set) var moa: ClaimingHost?
  let program: ClientHost

  init(seed: UInt64, faults: Faults = Faults()) throws {
    simulator = Simulator(seed: seed)
    disk = try ClaimingHost.disk(["hello": Array("hello".utf8), "other": Array("other".utf8)])
    kea = try ClaimingHost("kea", in: simulator)
    moa = try ClaimingHost("moa", in: simulator, disk: disk)
    program = ClientHost(kea, simulator)
    simulator.run(for: .seconds(5))
    simulator.faults = faults
  }

  func restartMoa() throws {
    simulator.crash("moa")
    moa = try ClaimingHost("moa", in: simulator, disk: disk)
    simulator.run(for: .seconds(5))
  }

  /// A file on moa's disk, written without V.
  func replaceHello() throws {
    let root = try disk.openRoot("/")
    defer { disk.close(root) }
    try disk.remove(Array("hello".utf8), in: root, isDirectory: false, as: .root)
    let file = try disk.create(
      Array("hello".utf8), in: root, .write, permissions: 0o644, as: .root)
    _ = try disk.write(file, Array("another".utf8), at: 0, .write, as: .root, .mayWait)
    disk.close(file)
  }
}

private typealias Refused = ClientHost.Refused

@Suite("A client in the simulator")
struct ClientTests {
  @Test("finds known and open objects again when their server was restarted", arguments: seeds)
  func restart(seed: UInt64) throws {
    let world = try World(seed: seed, faults: Faults(loss: 3, duplication: 2, reordering: 10))
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, [.read, .write])
    let identity = try world.program.describe(id).identity
    for _ in 0..<2 {
      try world.restartMoa()
      #expect(try world.program.describe(id).identity == identity, "V_SEED=\(seed)")
      #expect(try world.program.read(open) == "hello", "V_SEED=\(seed)")
      #expect(try world.program.write("HELLO", to: open) == 5, "V_SEED=\(seed)")
      #expect(try world.program.write("hello", to: open) == 5, "V_SEED=\(seed)")
    }
  }

  @Test("asks for no octets behind the end, and for those before it side by side")
  func questions() throws {
    let world = try World(seed: 5)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, [.read, .write])
    /// How many questions a read of 128 KB takes, how long, and what it finds.
    func read(at offset: UInt64 = 0) throws -> (count: Int, time: TimeSpan, octets: Int) {
      let (before, start) = (world.kea.node.counters.requestsSent, world.simulator.now)
      let pieces = try world.program.value {
        $0.read(open, count: 131_072, at: offset, then: $1)
      }
      return (
        world.kea.node.counters.requestsSent - before, world.simulator.now - start,
        pieces.reduce(0) { $0 + $1.count }
      )
    }
    let small = try read()
    #expect(small.count == 1 && small.octets == 5)
    let behind = try read(at: 5)
    #expect(behind.count == 1 && behind.octets == 0)
    // It grows, by what is open here and by another.
    func grow(to size: Int, by other: OpenID) throws {
      let text = String(repeating: "x", count: size)
      _ = try world.program.value { call, done in
        call.write(other, text.utf8Span.span.bytes, at: 0, dropsPrivileges: false, then: done)
      }
    }
    try grow(to: 40_000, by: open)
    let larger = try read()
    #expect(larger.count == 3 && larger.octets == 40_000)
    #expect(larger.time < small.time + small.time)
    let other = try world.program.open(id, .write)
    try grow(to: 131_072 * 3, by: other)
    for index in 0...3 {
      let next = try read(at: UInt64(index * 131_072))
      #expect(next.count == 8 && next.octets == (index < 3 ? 131_072 : 0))
      // Only where the end was thought to be is it asked for alone.
      if index > 0 { #expect(next.time < small.time + small.time) }
    }
  }

  @Test("never takes another object for the one it knew, only because it has the name now")
  func replaced() throws {
    let world = try World(seed: 4)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, .read)
    try world.replaceHello()
    try world.restartMoa()
    #expect(throws: Refused(code: .invalidFileID)) { try world.program.describe(id) }
    #expect(throws: Refused(code: .invalidFileID)) { try world.program.read(open) }
    #expect(throws: Refused(code: .invalidFileID)) { try world.program.open(id, .read) }
    let other = try world.program.find("storage/moa/hello")
    #expect(other != id)
    #expect(try world.program.read(world.program.open(other, .read)) == "another")
  }

  @Test("reports a silent host within 3 s, and goes on when it is back", arguments: seeds)
  func silence(seed: UInt64) throws {
    let world = try World(seed: seed)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, .read)
    world.simulator.partition("kea", "moa")
    let outcome = world.program.outcome(within: .seconds(3)) { call, done in
      call.read(open, count: 9, at: 0, then: done)
    }
    #expect(outcome == .failure(Refused(code: .retransmissionTimeout)), "V_SEED=\(seed)")
    // Its root is still described as before.
    #expect(try world.program.describe(world.program.find("storage/moa")).kind == .context)
    world.simulator.heal()
    world.simulator.run(for: .seconds(2))
    #expect(try world.program.read(open) == "hello", "V_SEED=\(seed)")
  }

  @Test(
    "a signal ends a call soon, and its late effect is undone", arguments: seeds)
  func signals(seed: UInt64) throws {
    let world = try World(seed: seed)
    let id = try world.program.find("storage/moa/hello")
    // Its server keeps the data that it needs to know the object.
    world.program.client.close(try world.program.open(id, .read))
    world.simulator.run(for: .seconds(1))
    let handles = world.disk.handleCount
    // A request arrives, its answers are lost: the instance exists, and nobody knows of it.
    world.simulator.dropsPacket = { $0.isResponse }
    let outcome = world.program.outcome(signal: .milliseconds(10), within: .seconds(1)) {
      call, done in
      call.open(id, .read) { answer in
        // As a mount does when it can no longer tell the program.
        if case .done(let opened, _) = answer { world.program.client.close(opened.id) }
        done(answer)
      }
    }
    #expect(
      outcome.map { $0.map(\.id) } == .failure(Refused(code: .interrupted)), "V_SEED=\(seed)")
    #expect(world.disk.handleCount == handles + 1, "V_SEED=\(seed)")
    world.simulator.dropsPacket = nil
    world.simulator.run(for: .seconds(30)) { world.disk.handleCount == handles }
    #expect(world.disk.handleCount == handles, "V_SEED=\(seed)")
  }

  @Test("a signal that comes with the answer loses nothing", arguments: seeds)
  func lateSignal(seed: UInt64) throws {
    let world = try World(seed: seed)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, .read)
    // A round trip takes from 40 to 80 us, and the disk up to 1 ms.
    let outcome = world.program.outcome(signal: TimeSpan(nanoseconds: Int64(seed) * 50_000)) {
      call, done in call.read(open, count: 9, at: 0, then: done)
    }
    let text = outcome.map { $0.map { String(decoding: $0.flatMap { $0 }, as: UTF8.self) } }
    #expect(text == .success("hello"), "V_SEED=\(seed)")
  }

  @Test("reclaims its locks after a restart, and none that it gave back")
  func locks() throws {
    let world = try World(seed: 6)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, [.read, .write])
    let other = ClientHost(world.kea, world.simulator, lockOwner: 2)
    let otherID = try other.find("storage/moa/hello")
    let otherOpen = try other.open(otherID, [.read, .write])
    try world.program.setLock(id, open, .exclusive)
    #expect(throws: Refused(code: .wouldBlock)) { try other.setLock(otherID, otherOpen, .shared) }
    try world.restartMoa()
    #expect(try world.program.read(open) == "hello")
    #expect(throws: Refused(code: .wouldBlock)) { try other.setLock(otherID, otherOpen, .shared) }
    try world.program.setLock(id, open, .none)
    try world.restartMoa()
    #expect(try world.program.read(open) == "hello")
    try other.setLock(otherID, otherOpen, .exclusive)
  }

  @Test("if a lock was given away meanwhile, the open object can only be closed")
  func lostLock() throws {
    let world = try World(seed: 7)
    let id = try world.program.find("storage/moa/hello")
    let open = try world.program.open(id, [.read, .write])
    try world.program.setLock(id, open, .exclusive)
    try world.restartMoa()
    let tui = try ClaimingHost("tui", in: world.simulator)
    world.simulator.run(for: .seconds(5))
    let other = ClientHost(tui, world.simulator)
    let otherID = try other.find("storage/moa/hello")
    try other.setLock(otherID, other.open(otherID, [.read, .write]), .exclusive)
    #expect(throws: Refused(code: .deviceError)) { try world.program.write("x", to: open) }
    #expect(throws: Refused(code: .deviceError)) { try world.program.read(open) }
    #expect(world.program.client.close(open)?.object == id)
    #expect(try world.program.read(world.program.open(id, .read)) == "hello")
  }
}

extension [UInt8] {
  /// Whether a packet of VMTP has a response.
  fileprivate var isResponse: Bool {
    let body = count - Checksum.byteCount
    return (try? PacketHeader(parsing: span.bytes, bodyBytes: body))?.function == .response
  }
}
