import CVLinux
import Foundation
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

/// A team server that can end like a killed one: it has nothing but a socket.
final class MortalServer {
  private let socket: Int32
  let keeper: Int32

  init(_ shop: Workshop, _ command: String, outlivesServer: Bool, isAttached: Bool = true) throws {
    try FileManager.default.createDirectory(
      atPath: shop.directory, withIntermediateDirectories: true)
    var ends: [Int32] = [-1, -1]
    #expect(v_channel_make(&ends) == 0)
    socket = ends[0]
    keeper = Workshop.keeper.withCString { path in
      v_keeper_spawn(path, [path, nil], ends[1])
    }
    close(ends[1])
    var order = Workshop.order(command)
    order.isAttached = isAttached
    order.environment = [Array("PATH=/usr/bin:/bin".utf8)]
    send(
      .start(
        KeeperOrder(
          program: order, uid: 0, gid: 0, groups: [], home: Array("/root".utf8),
          resources: shop.resources, directory: shop.directory, outlivesServer: outlivesServer)))
  }

  func send(_ frame: KeeperFrame) {
    let octets = frame.octets
    #expect(v_frame_send(socket, octets, octets.count, 1) == 0)
  }

  func receive() throws -> KeeperFrame {
    try #require(v_frame_wait(socket, 10_000) > 0)
    var octets = [UInt8](repeating: 0, count: KeeperFrame.packetBytesMax)
    let count = Int(v_frame_receive(socket, &octets, octets.count))
    return try KeeperFrame(parsing: Array(octets[..<max(0, count)]))
  }

  func vanish() { close(socket) }

  /// Its keeper was its child, so it is reaped here.
  func reap() { waitpid(keeper, nil, 0) }
}

@Suite("Successor of a team server", .needsRoot, .timeLimit(.minutes(1)))
struct SuccessorTests {
  @Test("takes over in mid-stream: no octet is lost or doubled")
  func midStream() async throws {
    let shop = Workshop()
    let server = try MortalServer(shop, "seq 1000000; exit 4", outlivesServer: true)
    guard case .program(let status) = try server.receive() else {
      Issue.record("it does not run")
      return
    }
    var octets: [UInt8] = []
    while octets.count < 500_000 {
      server.send(.read(token: 1, .out, position: UInt64(octets.count), count: 16_384))
      guard case .output(1, .octets(let more, UInt64(octets.count))) = try server.receive() else {
        Issue.record("a gap at \(octets.count)")
        return
      }
      octets += more
    }
    // A read under way, and one whose answer is never read.
    server.send(.read(token: 2, .out, position: UInt64(octets.count), count: 16_384))
    server.send(.read(token: 3, .err, position: 0, count: 1))
    server.vanish()
    let found = await answer { shop.successor().recover(completion: $0) }
    let program = try #require(found.first)
    #expect(found.count == 1 && program.pid == status.pid && program.order == status.order)
    #expect(program.startedAt == status.startedAt && program.directory == status.directory)
    octets += await program.output(from: UInt64(octets.count))
    #expect(octets == Array((1...1_000_000).map { "\($0)\n" }.joined().utf8))
    #expect(await program.ended() == .exited(4))
    await shop.close(program)
    server.reap()
  }

  @Test("finds programs that ended meanwhile, suspended ones, and repeated requests")
  func statuses() async throws {
    let shop = Workshop()
    let ended = try MortalServer(shop, "echo done; exit 6", outlivesServer: true)
    let frozen = try MortalServer(shop, "cat; sleep 1000", outlivesServer: true)
    for server in [ended, frozen] {
      guard case .program = try server.receive() else {
        Issue.record("it does not run")
        return
      }
    }
    frozen.send(.write(token: 1, position: nil, Array("before\n".utf8)))
    #expect(try frozen.receive() == .taken(token: 1, .ok))
    frozen.send(.control(token: 2, .suspend, asUser: false))
    guard case .changed(.suspended, _, _) = try frozen.receive() else {
      Issue.record("it is not suspended")
      return
    }
    for server in [ended, frozen] { server.vanish() }
    await expect("one has ended") {
      let states = await answer { shop.successor().recover(completion: $0) }.map(\.state)
      return Set(states) == [.suspended, .exited(6)]
    }
    let programs = await answer { shop.successor().recover(completion: $0) }
    let (first, second) = (
      try #require(programs.first { $0.state == .exited(6) }),
      try #require(programs.first { $0.state == .suspended })
    )
    #expect(await first.text() == "done\n")
    #expect(first.endedAt ?? 0 > first.startedAt)
    #expect(await second.control(.resume) == nil)
    #expect(await second.write("after\n") == .ok)
    #expect(await second.text(until: "after") == "before\nafter\n")
    await shop.close(first, second)
    for server in [ended, frozen] { server.reap() }
  }

  @Test("finds nothing if programs end with their server")
  func endMode() async throws {
    let shop = Workshop()
    let server = try MortalServer(shop, "sleep 1000 & sleep 1000", outlivesServer: false)
    guard case .program(let status) = try server.receive() else {
      Issue.record("it does not run")
      return
    }
    server.vanish()
    server.reap()
    #expect(!Workshop.isAlive(status.pid) && !Workshop.isAlive(status.initPid))
    #expect(await answer { shop.successor().recover(completion: $0) }.isEmpty)
    await shop.close()
  }

  @Test("a server that dies before the program runs leaves nothing")
  func early() async throws {
    let shop = Workshop()
    let server = try MortalServer(shop, "sleep 1000", outlivesServer: true)
    server.vanish()
    await expect("it has started or ended") {
      !shop.keepers.isEmpty || !Workshop.isAlive(server.keeper)
    }
    for program in await answer({ shop.successor().recover(completion: $0) }) { program.forget() }
    server.reap()
    await shop.close()
  }

  @Test(
    "a killed keeper takes its program along, and the server sees it", arguments: [false, true])
  func killedKeeper(isSuspended: Bool) async throws {
    let shop = Workshop()
    let program = try await shop.start("setsid sleep 1000 & sleep 1000")
    if isSuspended { #expect(await program.control(.suspend) == nil) }
    async let read = program.read(at: 0)
    async let pids = answer { program.processes(completion: $0) }
    let all = await pids
    for keeper in shop.keepers { kill(keeper, SIGKILL) }
    #expect(await program.ended() == .killed(signal: SIGKILL))
    #expect(await read == .lost)
    #expect(await program.write("x") == .brokenPipe)
    #expect(await program.control(.resume) == .ended)
    await expect("all processes are gone") { all.allSatisfy { !Workshop.isAlive($0) } }
    await shop.close(program)
  }

  @Test("remains of dead keepers are removed")
  func remains() async throws {
    let shop = Workshop()
    let server = try MortalServer(shop, "sleep 1000", outlivesServer: true)
    guard case .program(let status) = try server.receive() else {
      Issue.record("it does not run")
      return
    }
    kill(server.keeper, SIGKILL)
    server.reap()
    server.vanish()
    let groups = shop.resources.groups(ofKeeper: server.keeper)
    #expect(shop.keepers == [server.keeper] && !groups.isEmpty)
    await expect("it is dead") { !Workshop.isAlive(status.pid) }
    #expect(await answer { shop.successor().recover(completion: $0) }.isEmpty)
    #expect(shop.keepers.isEmpty)
    #expect(groups.allSatisfy { !FileManager.default.fileExists(atPath: $0) })
    await shop.close()
  }
}
