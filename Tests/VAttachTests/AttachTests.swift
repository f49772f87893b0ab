import Foundation
import Synchronization
import Testing
import VAttach
import VNode
import VProtocol
import VRuntime

@Suite("Attached process", .timeLimit(.minutes(1)))
struct AttachTests {
  let cluster = Cluster.shared

  @Test("is told its host and its user, on a socket that everybody may reach")
  func welcome() throws {
    let door = try Door(cluster.kea)
    let process = try door.attach()
    defer { process.close() }
    #expect(process.host == "kea")
    #expect(process.kernel == cluster.kea.id)
    #expect(process.user == NSUserName())
    var status = stat()
    #expect(stat(door.path, &status) == 0 && status.st_mode & 0o777 == 0o666)
    #expect(stat(String(door.path.dropLast("/node.sock".count)), &status) == 0)
    #expect(status.st_mode & 0o777 == 0o755)
  }

  @Test("is served by another one on its host, and on another host")
  func clientAndServer() throws {
    let (kea, moa) = (try Door(cluster.kea), try Door(cluster.moa))
    let (server, near, far) = (try kea.attach(), try kea.attach(), try moa.attach())
    defer { for process in [server, near, far] { process.close() } }
    let echo = server.makeEcho()
    for (process, host) in [(near, "kea"), (far, "moa")] {
      let client = process.makeClient(user: process.user)
      let body = String(repeating: "x", count: 16_000)
      for text in ["hello", body, ""] {
        let response = process.sendText(text, from: client, to: echo)
        #expect(response.code == .ok)
        #expect(response.server == echo)
        #expect(response.text == "\(process.user)@\(host) \(text)")
      }
    }
  }

  @Test("gets messages to its groups, and can get the answers of all members")
  func groups() throws {
    let group = EntityID(group: 0x7001, low: 0xE000_0100, isUnrestricted: true)
    let (kea, moa) = (try Door(cluster.kea), try Door(cluster.moa))
    let (one, other) = (try kea.attach(), try moa.attach())
    defer { for process in [one, other] { process.close() } }
    for process in [one, other] {
      #expect(process.tryJoin(process.makeEcho(), group: group) == .ok)
    }
    let client = one.makeClient(user: one.user)
    let answers = Collected<Response>()
    one.send(
      Message(MessageControlBlock(code: 1)), from: client, to: group,
      options: SendOptions(timeLimit: .milliseconds(500), collectsResponses: true)
    ) { answers.append($0) }
    #expect(eventually { answers.values.last?.server == EntityID.none })
    #expect(answers.values.last?.code == .userTimeout)
    #expect(Set(answers.values.dropLast().map(\.server.kernel)) == [one.kernel, other.kernel])
    // And the client is free again.
    let first = one.sendText("again", from: client, to: group)
    #expect(first.code == .ok)
  }

  @Test("that dies ends the requests to its servers, here and on other hosts")
  func serverDies() throws {
    let (kea, moa) = (try Door(cluster.kea), try Door(cluster.moa))
    let (server, near, far) = (try kea.attach(), try kea.attach(), try moa.attach())
    defer { for process in [near, far] { process.close() } }
    let heard = Collected<EntityID>()
    let silent = server.makeServer(knowsPrincipals: true) { heard.append($0.client) }
    let codes = Collected<ReplyCode>()
    for process in [near, far] {
      process.send(
        Message(MessageControlBlock(code: 1)), from: process.makeClient(user: process.user),
        to: silent, options: SendOptions()
      ) { codes.append($0.code) }
    }
    #expect(eventually { heard.values.count == 2 })
    server.close()
    #expect(eventually { codes.values.count == 2 })
    #expect(codes.values == [.outcomeUnknown, .outcomeUnknown])
    let late = near.sendText("late", from: near.makeClient(user: near.user), to: silent)
    #expect(late.code == .nonexistentEntity)
    #expect(eventually { kea.server.processCount == 1 && kea.server.endings["ended"] == 1 })
  }

  @Test("that dies while it waits does no harm to the server that answers it")
  func clientDies() throws {
    let door = try Door(cluster.kea)
    let (server, client) = (try door.attach(), try door.attach())
    defer { server.close() }
    let heard = Collected<Request>()
    let slow = server.makeServer(knowsPrincipals: true) { heard.append($0) }
    client.send(
      Message(MessageControlBlock(code: 1)), from: client.makeClient(user: client.user),
      to: slow, options: SendOptions()
    ) { _ in }
    #expect(eventually { heard.values.count == 1 })
    client.close()
    #expect(eventually { door.server.processCount == 1 })
    server.reply(Message(reply: .ok), to: heard.values[0])
    let own = server.makeClient(user: "ann")
    #expect(server.sendText("x", from: own, to: server.makeEcho()).code == .ok)
  }

  @Test("may make entities in a completion, on its loop's thread")
  func makingOnTheLoop() throws {
    let door = try Door(cluster.kea)
    let process = try door.attach()
    defer { process.close() }
    let echo = process.makeEcho()
    let texts = Collected<String>()
    process.send(
      Message(reply: .ok), from: process.makeClient(user: "ann"), to: echo, options: SendOptions()
    ) { [unowned process] _ in
      let next = process.makeClient(user: "bob")
      let server = process.makeEcho()
      process.send(Message(reply: .ok), from: next, to: server, options: SendOptions()) {
        texts.append($0.text)
      }
    }
    #expect(eventually { texts.values == ["bob@kea "] })
  }

  @Test("forwards a request, which the next server answers for the same client")
  func forwarding() throws {
    let (kea, moa) = (try Door(cluster.kea), try Door(cluster.moa))
    let (first, second) = (try kea.attach(), try moa.attach())
    defer { for process in [first, second] { process.close() } }
    let echo = second.makeEcho()
    let forwarder = first.makeServer(knowsPrincipals: true) { [unowned first] request in
      first.forward(request, request.message, to: echo)
    }
    // A forwarded clear request is only accepted from a kernel that was heard before.
    let client = first.makeClient(user: "ann")
    #expect(first.sendText("", from: client, to: echo).code == .ok)
    let response = first.sendText("on", from: client, to: forwarder)
    #expect(response.text == "ann@kea on")
    #expect(response.server == echo)
  }

  @Test("sends and gets datagrams, and stays free to send")
  func datagrams() throws {
    let (kea, moa) = (try Door(cluster.kea), try Door(cluster.moa))
    let (one, other) = (try kea.attach(), try moa.attach())
    defer { for process in [one, other] { process.close() } }
    let group = EntityID(group: 0x7002, low: 0xE000_0100, isUnrestricted: true)
    let heard = Collected<[UInt8]>()
    let listener = other.makeServer(knowsPrincipals: false) { [unowned other] request in
      heard.append(request.message.segment)
      other.reply(Message(reply: .ok), to: request)
    }
    other.join(listener, group: group)
    let client = one.makeClient(user: one.user)
    // Datagrams may be lost.
    #expect(
      eventually {
        one.sendDatagram(
          Message(MessageControlBlock(code: 1), segment: [7]), from: client, to: group)
        return heard.values.contains([7])
      })
    #expect(one.sendText("x", from: client, to: one.makeEcho()).code == .ok)
  }

  @Test("sees time pass in order, descriptors become readable, and work done off its loop")
  func loop() throws {
    let door = try Door(cluster.kea)
    let process = try door.attach()
    defer { process.close() }
    let order = Collected<Int>()
    for (index, milliseconds) in [30, 10, 20, 10].enumerated() {
      process.after(.milliseconds(Int64(milliseconds))) { order.append(index) }
    }
    #expect(eventually { order.values.count == 4 })
    #expect(order.values == [1, 3, 2, 0])
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let reader = ends[0]
    process.watch(reader) {
      var octet: UInt8 = 0
      if read(reader, &octet, 1) == 1 { order.append(Int(octet)) }
    }
    process.disk { order.append(99) }
    #expect(write(ends[1], [UInt8(42)], 1) == 1)
    #expect(eventually { order.values.count == 6 })
    #expect(order.values.contains(42) && order.values.contains(99))
    process.unwatch(reader)
    for end in ends { close(end) }
  }

  @Test("without a node gets one sentence that tells what to do")
  func noNode() {
    let path = "/tmp/v-attach-none-\(getpid())/node.sock"
    let error = #expect(throws: AttachError.self) { try AttachedBackplane(socketPath: path) }
    #expect(
      error?.description
        == "cannot reach the node at \(path): is vnode running?")
  }

  @Test("whose node dies gets an error for everything under way, and for every later Send")
  func nodeDies() throws {
    let path = "/tmp/v-attach-dying-\(getpid()).sock"
    unlink(path)
    defer { unlink(path) }
    let listener = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
    var name = RawProcess.name(path)
    let isBound = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
      }
    }
    #expect(isBound && listen(listener, 1) == 0)
    let client = EntityID(kernel: KernelID(1), discriminator: 16)
    Thread.detachNewThread {
      let node = accept(listener, nil, nil)
      func send(_ frame: AttachFrame) {
        let octets = FrameTests.emit(frame)
        Glibc.send(node, octets, octets.count, 0)
      }
      send(.welcome(KernelID(1), Principal(user: "ann", host: "kea")))
      var octets = [UInt8](repeating: 0, count: AttachFrame.byteCountMax)
      while recv(node, &octets, octets.count, 0) > 0 {
        // The token is in octets 4 to 7; anything but a question ends this node.
        guard octets[1] == 1 else { break }
        send(.made(token: octets.span.bytes.bigEndian(at: 4), client))
      }
      close(node)
      close(listener)
    }
    let process = try AttachedBackplane(socketPath: path)
    defer { process.close() }
    #expect(process.makeClient(user: "ann") == client)
    let response = process.sendText("x", from: client, to: .managerGroup)
    #expect(response.code == .retransmissionTimeout)
    #expect(!process.isAttached)
    #expect(process.sendText("y", from: client, to: .managerGroup).code == .retransmissionTimeout)
    #expect(process.makeClient(user: "ann") == EntityID.none)
  }
}
