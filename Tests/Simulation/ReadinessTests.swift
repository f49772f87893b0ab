import NetworkFaults
import Testing
import VClient
import VDirectory
import VPipeServer
import VProtocol
import VRuntime
import VStore
import VTeamServer

/// A client on kea of the pipes of moa.
///
/// `@unchecked Sendable`: the simulator is one thread.
private final class PipeWorld: @unchecked Sendable {
  let simulator: Simulator
  let program: ClientHost
  let pipes: PipeServer
  private let kea: ClaimingHost
  private let moa: ClaimingHost

  init(seed: UInt64 = 3) throws {
    simulator = Simulator(seed: seed)
    kea = try ClaimingHost("kea", in: simulator)
    moa = try ClaimingHost("moa", in: simulator)
    pipes = PipeServer(moa.node)
    pipes.claim(in: moa.directory.server) { _ in }
    program = ClientHost(kea, simulator)
    simulator.run(for: .seconds(12))
    let made = try program.value { call, done in
      call.make(
        Array("p".utf8), below: try! program.find("pipe/moa"), [.write, .create],
        permissions: 0o600, then: done)
    }
    let call = Call(program.client, by: OneCaller("root"))
    call.takeBack(made, by: pipes.server)
    run { pipes.instanceCount == 0 }
  }

  func open(_ mode: OpenMode) throws -> OpenID {
    try program.open(try program.find("pipe/moa/p"), mode)
  }

  func look(_ open: OpenID) throws -> Readiness { try program.value { $0.look(open, then: $1) } }

  /// How often a watch has told of a change.
  func watch(_ open: OpenID, for wanted: Readiness) -> Shared<Int> {
    let count = Shared(0)
    program.client.watch(open, for: wanted) { count.value += 1 }
    return count
  }

  func run(until body: () -> Bool) { simulator.run(for: .seconds(30), until: body) }
}

@Suite("Readiness in the simulator")
struct ReadinessTests {
  @Test("an end of a pipe is ready when there is a block, room, or nobody at the other end")
  func pipe() throws {
    let world = try PipeWorld()
    let reader = try world.open([.read, .nonBlocking])
    #expect(try world.look(reader) == [])
    let writer = try world.open([.write, .nonBlocking])
    #expect(try world.look(reader) == [] && world.look(writer) == .writeable)
    #expect(try world.program.write("abc", to: writer) == 3)
    #expect(try world.look(reader) == .readable)
    #expect(try world.program.read(reader) == "abc")
    #expect(try world.look(reader) == [])
    world.program.client.close(writer)
    world.run { world.pipes.instanceCount == 1 }
    #expect(try world.look(reader) == .ended)
    let next = try world.open(.write)
    #expect(try world.look(reader) == [])
    world.program.client.close(reader)
    world.run { world.pipes.instanceCount == 1 }
    #expect(try world.look(next) == .broken)
  }

  @Test("a watch tells once what it waits for, and waits without taking anything", arguments: seeds)
  func watch(seed: UInt64) throws {
    let world = try PipeWorld(seed: seed)
    world.simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let reader = try world.open([.read, .nonBlocking])
    let writer = try world.open(.write)
    let count = world.watch(reader, for: .readable)
    world.run { world.pipes.waitCount == 1 }
    #expect(count.value == 0)
    // One request at most for each file.
    let second = world.watch(reader, for: .readable)
    _ = try world.look(reader)
    #expect(world.pipes.waitCount == 1)
    #expect(try world.program.write("abc", to: writer) == 3)
    world.run { second.value == 1 }
    #expect(count.value == 0 && second.value == 1 && world.pipes.waitCount == 0, "V_SEED=\(seed)")
    #expect(try world.program.read(reader) == "abc")
    #expect(second.value == 1)
  }

  @Test("a watch that is to wait for more goes on for all of it")
  func wider() throws {
    let world = try PipeWorld()
    let both = try world.open([.read, .write, .nonBlocking])
    var written = 0
    while try world.look(both).contains(.writeable) {
      written += try world.program.write(String(repeating: "x", count: 16_384), to: both)
    }
    #expect(written == 65_536)
    while try world.look(both).contains(.readable), written > 32_768 {
      written -= try world.program.value { $0.read(both, count: 16_384, at: 0, then: $1) }
        .reduce(0) { $0 + $1.count }
    }
    // Now for something that there is not yet, and then for something else too.
    while try world.look(both).contains(.readable) {
      _ = try world.program.value { $0.read(both, count: 16_384, at: 0, then: $1) }
    }
    let first = world.watch(both, for: .readable)
    world.run { world.pipes.waitCount == 1 }
    let second = world.watch(both, for: [.readable, .writeable])
    world.run { second.value == 1 }
    #expect(first.value == 0 && second.value == 1)
    world.run { world.pipes.waitCount == 0 }
    #expect(world.pipes.waitCount == 0)
  }

  @Test("it goes with its file, and tells that its manager is gone")
  func end() throws {
    let world = try PipeWorld()
    let reader = try world.open([.read, .nonBlocking])
    let writer = try world.open(.write)
    let closed = world.watch(reader, for: .readable)
    world.run { world.pipes.waitCount == 1 }
    world.program.client.close(reader)
    world.run { world.pipes.waitCount == 0 }
    #expect(world.pipes.waitCount == 0)
    let other = try world.open([.read, .nonBlocking])
    let lost = world.watch(other, for: .readable)
    world.run { world.pipes.waitCount == 1 }
    world.simulator.crash("moa")
    world.run { lost.value == 1 }
    #expect(lost.value == 1 && closed.value == 0)
    #expect(throws: ClientHost.Refused.self) { try world.look(other) }
    world.program.client.close(writer)
  }

  @Test("a program's streams are ready when there is something, or at its end")
  func program() throws {
    let simulator = Simulator(seed: 7)
    let kea = TeamHost("kea", in: simulator)
    let moa = TeamHost("moa", in: simulator)
    simulator.run(for: .seconds(12))
    let (new, name) = try #require(kea.start("moa", "sort"))
    let program = moa.machine.last
    func open(_ file: String, _ mode: OpenMode = [.read, .nonBlocking]) throws -> TeamOpen {
      try #require(kea.open("team/moa/\(name)/\(file)", mode))
    }
    let (out, wait, events) = (try open("out"), try open("wait"), try open("events"))
    let into = try open("in", .write)
    #expect([out, wait, events, into].map { $0.ready() } == [[], [], [], .writeable])
    #expect(new.ready() == [.readable, .writeable])
    // What would wait is refused where the opening asked for that.
    #expect(out.readLater(simulator) == "\(ReplyCode.wouldBlock)")
    let later = [out, wait, events].map { $0.readyLater() }
    #expect(moa.team.waitCount == 3 && program.waitingLooks == 1)
    program.say("word")
    simulator.run(for: .seconds(1))
    #expect(later.map(\.value) == [.readable, nil, nil])
    #expect(out.ready() == .readable && out.read() == "word" && out.ready() == [])
    program.become(.exited(3))
    simulator.run(for: .seconds(1))
    #expect(later.map(\.value) == [.readable, .readable, .readable])
    #expect(wait.read() == "exited 3\n" && events.read() == "exited 3\n" && out.read() == "")
    #expect([out, wait, events].map { $0.ready() } == [.ended, .ended, .ended])
    #expect(moa.team.waitCount == 0)
    // A release ends what waits.
    let (other, second) = try #require(kea.start("moa", "sort"))
    let last = try #require(kea.open("team/moa/\(second)/out", .read))
    let ended = last.readyLater()
    simulator.run(for: .seconds(1)) { moa.machine.last.waitingLooks == 1 }
    last.release()
    simulator.run(for: .seconds(1))
    #expect(ended.value == nil && moa.machine.last.waitingLooks == 0 && moa.team.waitCount == 0)
    for file in [new, other, out, wait, events, into] { file.release() }
  }
}

extension TeamOpen {
  fileprivate func ready() -> Readiness? {
    guard
      case .done(let answer, _) = host.ask(
        AwaitInstance(instance, isWaiting: false), of: manager, as: user)
    else { return nil }
    return answer.ready
  }

  /// Begins to wait until there is something to read; what there is, when there is.
  fileprivate func readyLater() -> Shared<Readiness?> {
    let ready = Shared<Readiness?>(nil)
    host.clients.send(
      AwaitInstance(instance, for: .readable, isWaiting: true), as: ClientUser(own: user),
      to: manager
    ) { answer in
      if case .done(let answer, _) = answer { ready.value = answer.ready }
    }
    host.simulator.run(for: .milliseconds(100))
    return ready
  }

  fileprivate func readLater(_ simulator: Simulator) -> String? {
    let text = readLater()
    simulator.run(for: .seconds(1)) { text.value != nil }
    return text.value
  }
}
