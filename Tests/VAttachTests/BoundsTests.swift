import Foundation
import Testing
import VAttach
import VNode
import VProtocol
import VRuntime

@Suite("Attach server", .timeLimit(.minutes(1)))
struct BoundsTests {
  let cluster = Cluster.shared

  @Test("closes the socket of a process that uses another's entity as its own")
  func foreignEntity() throws {
    let door = try Door(cluster.kea)
    let victim = try door.attach()
    defer { victim.close() }
    let (client, server) = (victim.makeClient(user: "ann"), victim.makeEcho())
    let name = AttachFrame.RequestName(
      client: client, transaction: TransactionID(1), server: server, forwardCount: 0)
    let frames: [AttachFrame] = [
      .retire(client), .retire(server),
      .send(Message(reply: .ok), client: client, server: server, SendOptions()),
      .datagram(Message(reply: .ok), client: client, server: server),
      .join(token: 1, server: server, group: .nodeGroup),
      .reply(Message(reply: .ok), to: name),
      .forward(Message(reply: .ok), name, to: server),
      .send(
        Message(reply: .ok), client: .manager(of: cluster.kea.id), server: server, SendOptions()),
    ]
    for frame in frames {
      let process = try RawProcess(door.path)
      process.send(frame)
      #expect(process.receive() == nil)
    }
    #expect(eventually { door.server.endings["foreignEntity"] == frames.count })
    #expect(victim.sendText("x", from: client, to: server).code == .ok)
  }

  @Test("closes the socket of a process that sends an invalid frame")
  func badFrames() throws {
    let door = try Door(cluster.kea)
    let good = FrameTests.emit(.makeClient(token: 1, "ann"))
    let client = EntityID(kernel: cluster.kea.id, discriminator: 16)
    let bad: [[UInt8]] = [
      [1], Array(good.dropLast()), good + [0], [1] + good.dropFirst(),
      [UInt8](repeating: 0xFF, count: 80), [UInt8](repeating: 1, count: 40_000),
      FrameTests.emit(.made(token: 1, client)),
      FrameTests.emit(.welcome(KernelID(1), Principal(user: "a", host: "b"))),
    ]
    for octets in bad {
      let process = try RawProcess(door.path)
      process.send(octets)
      #expect(process.receive() == nil)
    }
    #expect(eventually { door.server.endings["badFrame"] == bad.count })
  }

  @Test("closes the socket of a process that sends twice from one client")
  func clientBusy() throws {
    let door = try Door(cluster.kea)
    let process = try RawProcess(door.path)
    let client = try #require(process.make(.makeClient(token: 1, "ann")))
    let server = try #require(process.make(.makeServer(token: 2, knowsPrincipals: false)))
    for _ in 0..<2 {
      process.send(.send(Message(reply: .ok), client: client, server: server, SendOptions()))
    }
    while process.receive() != nil {}
    #expect(eventually { door.server.endings["clientBusy"] == 1 })
  }

  @Test("does not trap on any Send, datagram or forward that a frame can have")
  func oddTargets() throws {
    let door = try Door(cluster.kea)
    for value: UInt64 in [0, 1, 1 << 32, 1 << 60, 1 << 61, 1 << 62, 1 << 63, .max] {
      let process = try RawProcess(door.path)
      let client = try #require(process.make(.makeClient(token: 1, "ann")))
      let server = try #require(process.make(.makeServer(token: 2, knowsPrincipals: true)))
      let target = EntityID(rawValue: value)
      var message = Message(MessageControlBlock(code: 0xFF_FFFF), segment: [1])
      message.mcb.flags = CodeFlags(rawValue: 0xFF)
      process.send(.datagram(message, client: client, server: target))
      process.send(.join(token: 3, server: server, group: target))
      process.send(
        .send(message, client: client, server: target, SendOptions(timeLimit: .milliseconds(1))))
      process.send(.retire(client))
      process.send(.retire(server))
    }
    #expect(eventually { door.server.processCount == 0 })
    #expect(try door.attach().isAttached)
  }

  @Test("gives a process 1,024 entities and refuses more")
  func entities() throws {
    let door = try Door(cluster.kea)
    let process = try door.attach()
    defer { process.close() }
    let clients = (0..<1024).map { _ in process.makeClient(user: "ann") }
    #expect(!clients.contains(.none))
    #expect(process.makeClient(user: "ann") == EntityID.none)
    let refused = process.sendAndWait(Message(reply: .ok), from: .none, to: .nodeGroup)
    #expect(refused.code == .noPermission)
    process.retire(clients[0])
    #expect(process.makeClient(user: "ann") != EntityID.none)
  }

  @Test("answers BUSY when a server does not read, and keeps its answers in order")
  func unreadRequests() throws {
    let door = try Door(cluster.kea)
    let (lazy, process) = (try RawProcess(door.path), try door.attach())
    defer { process.close() }
    let server = try #require(lazy.make(.makeServer(token: 1, knowsPrincipals: false)))
    let codes = Collected<ReplyCode>()
    let message = Message(
      MessageControlBlock(code: 1), segment: [UInt8](repeating: 7, count: 16_384))
    let clients = (0..<900).map { _ in process.makeClient(user: "ann") }
    for client in clients {
      process.send(message, from: client, to: server, options: SendOptions()) {
        codes.append($0.code)
      }
    }
    // The node carries out frames in order, so the last effect proves all earlier ones.
    let last = process.makeClient(user: "ann")
    #expect(process.sendText("x", from: last, to: process.makeEcho()).code == .ok)
    #expect(codes.values.count > 100)
    #expect(codes.values.allSatisfy { $0 == .busy })
    // Now it reads, and answers; the kept requests come as the socket has room.
    let waiting = 900 - codes.values.count
    for _ in 0..<waiting {
      guard case .invoke(let request)? = lazy.receive() else { break }
      lazy.send(.reply(Message(reply: .ok), to: AttachFrame.RequestName(request)))
    }
    #expect(eventually { codes.values.count == 900 })
    #expect(codes.values.count { $0 == .ok } == waiting)
  }

  @Test("closes the socket of a process that does not read its answers")
  func unreadAnswers() throws {
    let door = try Door(cluster.kea)
    let process = try RawProcess(door.path)
    for token: UInt32 in 0..<30_000 { process.send(.makeClient(token: token, "")) }
    #expect(eventually { door.server.endings["notReading"] == 1 })
  }

  @Test("replaces a socket without a listener, and leaves alone one with a listener")
  func socketFile() throws {
    func listen(at path: String) throws -> AttachServer {
      try AttachServer(
        cluster.moa, kernel: cluster.moa.id, path: path, users: DebianUsers())
    }
    let door = try Door(cluster.kea)
    #expect(throws: AttachServerError.self) { try listen(at: door.path) }
    let path = door.path + ".stale"
    let stale = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
    var name = RawProcess.name(path)
    _ = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(stale, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    close(stale)
    let server = try listen(at: path)
    let process = try AttachedBackplane(socketPath: path)
    process.close()
    server.close()
    let file = door.path + ".file"
    #expect(FileManager.default.createFile(atPath: file, contents: Data([1])))
    #expect(throws: AttachServerError.self) { try listen(at: file) }
    #expect(FileManager.default.contents(atPath: file) == Data([1]))
  }

  /// Sends frames as the user nobody: an implementation of its own, from the documentation alone.
  private static let script = """
    import socket, struct, sys
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    def frame(kind, number=0, entity=0, other=0, text=b'', code=0):
        head = struct.pack('>BBBBIQQQqHHI', 3, kind, 0, 0, number, entity, other, 0, 0,
                           len(text), 0, 0)
        return head + struct.pack('>8I', code, *[0] * 7) + text
    def ask(octets):
        s.send(octets)
        answer = s.recv(20000)
        entity, = struct.unpack('>Q', answer[8:16])
        code, = struct.unpack('>I', answer[48:52])
        return answer[1], entity, code
    print(s.recv(20000)[80:].decode())
    own = s
    print(ask(frame(1, 1, text=b'root'))[2])
    print(ask(frame(1, 2, text=b'nobody@kea'))[2])
    kind, client, code = ask(frame(1, 3, text=b'nobody'))
    print(kind)
    kind, server, code = ask(frame(2, 4))
    print(ask(frame(3, 5, server, 0x6000000000000000 | 2 << 32 | 0xE0000100))[2])
    print(ask(frame(3, 6, server, int(sys.argv[2])))[2])
    print(ask(frame(5, 0, client, 0x4000000000000000 | 1 << 32 | 0xE0000100, code=0x10F))[2])
    for claims in 0x100B, 0x100C:
        print(ask(frame(5, 0, client, int(sys.argv[3]), code=claims))[2])
    print(ask(frame(5, 0, client, server, code=0x10FF))[0])
    """

  @Test(
    "lets a user act only as that user, and neither as a kernel nor for names",
    .enabled(
      if: geteuid() == 0 && access("/usr/bin/setpriv", X_OK) == 0
        && access("/usr/bin/python3", X_OK) == 0, "needs root, setpriv and python3"))
  func users() throws {
    let door = try Door(cluster.kea)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
    process.arguments = [
      "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", Self.script, door.path,
      "\(EntityID(groupNamed: "own").rawValue)", "\(EntityID.nameHandlingGroup.rawValue)",
    ]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let noPermission = "\(ReplyCode.noPermission.rawValue)"
    #expect(
      text.split(separator: "\n").map(String.init) == [
        "nobody@kea", noPermission, noPermission, "129", noPermission, noPermission, noPermission,
        noPermission, noPermission, "132",
      ])
  }
}
