import Testing
import VKernel
import VProtocol
import VTransport

/// What one kernel, kea, does about clients that move between others, or leave it.
@Suite("Clients that move", .timeLimit(.minutes(1)))
struct MovedTests {
  private let moa = KernelID(0x0A4D_0002)
  private let tui = KernelID(0x0A4D_0003)
  private let ruru = KernelID(0x0A4D_0004)
  /// A client that moa made.
  private var client: EntityID { EntityID(kernel: moa, discriminator: 30) }
  private static let id = TransactionID(7)

  private func port(of kernel: KernelID) -> UInt16 {
    kernel == moa ? 61044 : UInt16(kernel.rawValue & 15)
  }

  private func place(of kernel: KernelID) -> Destination {
    .peer(kernel, Locator(ipv4: 0x0A4D_0002, port: port(of: kernel)))
  }

  /// A kernel that others have sent to, from their places.
  private func met(_ others: [KernelID]) -> TestKernel {
    var test = TestKernel()
    for other in others {
      test.receive(from: other.rawValue, to: .manager(of: TestKernel.id), at: port(of: other))
    }
    _ = test.taken()
    return test
  }

  private func request(
    _ server: EntityID, of client: EntityID? = nil, _ id: TransactionID = id,
    retransmitCount: UInt8 = 0, forwardCount: UInt8 = 0
  ) -> PacketHeader {
    var header = PacketHeader(
      function: .request, client: client ?? self.client, transaction: id, server: server,
      mcb: MessageControlBlock(code: 0x7701))
    header.retransmitCount = retransmitCount
    header.forwardCount = forwardCount
    return header
  }

  private func receive(_ test: inout TestKernel, _ header: PacketHeader, from sender: KernelID) {
    test.receive(header, from: sender, at: port(of: sender))
  }

  /// A datagram of another kernel's manager.
  private func receive(
    _ test: inout TestKernel, _ mcb: MessageControlBlock, from sender: KernelID
  ) {
    let header = PacketHeader(
      function: .request, client: .manager(of: sender), transaction: TransactionID(0),
      server: .managerGroup, mcb: mcb)
    receive(&test, header, from: sender)
  }

  private func answer(
    _ test: inout TestKernel, _ probe: Transmission, _ message: Message, from kernel: KernelID
  ) {
    test.answer(probe, message, from: kernel, at: port(of: kernel))
  }

  private func state(of entity: EntityID) -> Message {
    ProbeEntity.EntityState(
      transaction: Self.id, entity: entity, isAwaitingResponse: true, principal: "ann@moa"
    ).message
  }

  /// The server has the request of moa's client, which has been probed.
  private func invoked(
    _ test: inout TestKernel, _ header: PacketHeader, from sender: KernelID
  ) throws -> Request {
    receive(&test, header, from: sender)
    for probe in sent(test.taken()) where TestKernel.probed(probe) == header.client {
      answer(&test, probe, state(of: header.client), from: header.client.kernel)
    }
    return try invocation(&test)
  }

  private func invocation(_ test: inout TestKernel) throws -> Request {
    let requests = test.taken().compactMap { action -> Request? in
      if case .invoke(let request) = action { request } else { nil }
    }
    return try #require(requests.first)
  }

  @Test("one whose kernel was never heard is where it says, once all were asked for 2 s")
  func neverHeard() {
    var test = met([tui])
    let server = test.kernel.makeServer(.atMostOnce)
    let begun = test.step.now
    while test.kernel.kernel(of: client) == moa && test.step.now < begun + .seconds(5) {
      receive(&test, request(server), from: tui)
      test.run(for: .milliseconds(60)) { _, _ in }
    }
    #expect(test.kernel.kernel(of: client) == tui)
    #expect(begun + .seconds(2) <= test.step.now)
  }

  @Test("one whose kernel answers, but not where it is, is not where another says")
  func answeredBusy() {
    var test = met([moa, tui])
    let server = test.kernel.makeServer(.atMostOnce)
    for _ in 0..<100 {
      receive(&test, request(server), from: tui)
      test.run(for: .milliseconds(60)) { test, probe in
        guard TestKernel.probed(probe) == client else { return }
        answer(&test, probe, Message(reply: .busy), from: moa)
      }
    }
    #expect(test.kernel.kernel(of: client) == moa)
  }

  @Test("a kernel that was never heard has lost a server that another answers for, but no client")
  func unlocated() throws {
    var test = met([tui])
    let own = test.kernel.makeServer(.atMostOnce)
    let server = EntityID(kernel: moa, discriminator: 20)
    test.send(from: test.kernel.makeClient(user: "bob"), to: server)
    let search = try #require(sent(test.taken()).first { TestKernel.probed($0) == server })
    receive(&test, request(own), from: tui)
    #expect(test.kernel.kernel(of: client) == moa)
    _ = test.taken()
    answer(&test, search, state(of: server), from: tui)
    #expect(test.kernel.kernel(of: server) == tui)
    #expect(sent(test.taken()).contains { $0.destination == place(of: tui) })
  }

  @Test("a response for one that has left is answered so, but not while it is on its way")
  func responseForDeparted() throws {
    var test = met([moa, tui])
    let (client, server) = (
      test.kernel.makeClient(user: "bob"), EntityID(kernel: moa, discriminator: 20)
    )
    let id = test.send(from: client, to: server)
    #expect(test.kernel.freeze(client, for: tui, &test.step) != nil)
    let response = PacketHeader(
      function: .response, client: client, transaction: id, server: server,
      mcb: MessageControlBlock())
    _ = test.taken()
    receive(&test, response, from: moa)
    #expect(sent(test.taken()).isEmpty)
    test.kernel.release(client, &test.step)
    _ = test.taken()
    receive(&test, response, from: moa)
    let told = try #require(sent(test.taken()).first)
    #expect(told.destination == place(of: moa))
    #expect(
      NotifyServer(parsing: told.header.mcb)
        == NotifyServer(
          server: server, client: client, transaction: response.transaction, delivery: [],
          code: .entityMigrated))
  }

  @Test("a server's kernel that is told that the client has left asks where it is")
  func toldOfDeparture() throws {
    var test = met([moa, tui])
    let server = test.kernel.makeServer(.atMostOnce)
    let asked = try invoked(&test, request(server), from: moa)
    test.kernel.reply(Message(reply: .ok), to: asked, &test.step)
    _ = test.taken()
    let told = NotifyServer(
      server: server, client: client, transaction: Self.id, delivery: [], code: .entityMigrated)
    receive(&test, told.mcb, from: moa)
    let probe = try #require(sent(test.taken()).first { TestKernel.probed($0) == client })
    #expect(probe.destination == place(of: moa))
    answer(&test, probe, ProbeEntity.Moved(client, to: tui).message, from: moa)
    _ = test.taken()
    receive(&test, request(server, retransmitCount: 1), from: tui)
    let response = try #require(sent(test.taken()).first)
    #expect(response.header.function == .response && response.destination == place(of: tui))
  }

  @Test("W3: a request at work is kept, whatever its client's kernel answers once it has moved")
  func keptAtWork() throws {
    var test = met([moa, tui, ruru])
    let server = test.kernel.makeServer(.atMostOnce)
    receive(&test, request(server, forwardCount: 1), from: tui)
    // The client is a server itself, so it has no user.
    let state = ProbeEntity.EntityState(
      transaction: Self.id, entity: client, isAwaitingResponse: true, principal: "@moa"
    ).message
    for probe in sent(test.taken()) where TestKernel.probed(probe) == client {
      answer(&test, probe, state, from: moa)
    }
    _ = try invocation(&test)
    let told = NotifyServer(
      server: server, client: client, transaction: Self.id, delivery: [], code: .entityMigrated)
    receive(&test, told.mcb, from: moa)
    // ruru, whose host is not known yet, is not believed about it.
    for message in [ProbeEntity.Moved(client, to: ruru, principal: "@moa").message, state] {
      let probe = sent(test.taken()).first { TestKernel.probed($0) == client }
      guard let probe, case .peer(let kernel, _) = probe.destination else { continue }
      answer(&test, probe, message, from: kernel)
    }
    #expect(test.kernel.kernel(of: client) == ruru)
    #expect(test.kernel.clientStatus().map(\.server) == [server])
  }

  @Test("W3: a forwarder from before the last forward is told so, and the client has its response")
  func forwarderAsks() throws {
    var test = met([moa, tui])
    let server = test.kernel.makeServer(.atMostOnce)
    let asked = try invoked(&test, request(server, forwardCount: 2), from: tui)
    test.kernel.reply(Message(reply: .ok), to: asked, &test.step)
    _ = test.taken()
    receive(&test, request(server, retransmitCount: 1, forwardCount: 1), from: tui)
    let answers = sent(test.taken())
    #expect(answers.map(\.destination) == [place(of: tui), place(of: moa)])
    #expect(answers.map(\.header.function) == [.request, .response])
    let told = NotifyClient(parsing: try #require(answers.first).header.mcb)
    #expect(told.code == .ok && told.forwardCount == 1)
  }

  @Test("the server that has the request of one that has left answers it, and no other one")
  func reply() throws {
    var test = met([moa])
    let (first, second) = (
      test.kernel.makeServer(.atMostOnce), test.kernel.makeServer(.atMostOnce)
    )
    let client = test.kernel.makeClient(user: "bob")
    test.send(from: client, to: first)
    let asked = try invocation(&test)
    test.kernel.forward(asked, asked.message, to: second, &test.step)
    let passed = try invocation(&test)
    #expect(test.kernel.freeze(client, for: moa, &test.step) != nil)
    test.kernel.release(client, &test.step)
    _ = test.taken()
    test.kernel.reply(Message(reply: .ok), to: asked, &test.step)
    #expect(sent(test.taken()).isEmpty)
    test.kernel.reply(Message(reply: .ok), to: passed, &test.step)
    let answers = sent(test.taken())
    #expect(answers.map(\.header.server) == [second])
    #expect(answers.first?.destination == place(of: moa))
  }

  @Test("one that is on its way is not probed until it has arrived, however long that takes")
  func probedOnItsWay() {
    var test = met([moa, tui])
    let server = test.kernel.makeServer(.atMostOnce)
    let client = test.kernel.makeClient(user: "bob")
    let id = test.send(from: client, to: EntityID(kernel: tui, discriminator: 20))
    #expect(test.kernel.freeze(client, for: moa, &test.step) != nil)
    _ = test.taken()
    // tui's server has forwarded the request back here.
    receive(&test, request(server, of: client, id, forwardCount: 1), from: tui)
    var probes: [Destination] = []
    test.run(for: .seconds(3)) { _, sent in
      if TestKernel.probed(sent) == client { probes.append(sent.destination) }
    }
    #expect(!probes.contains(place(of: moa)))
    #expect(test.kernel.clientStatus().map(\.client) == [client])
    test.kernel.release(client, &test.step)
    test.run(for: .milliseconds(200)) { _, sent in
      if TestKernel.probed(sent) == client { probes.append(sent.destination) }
    }
    #expect(probes.contains(place(of: moa)))
  }

  /// The client's request comes forwarded for 5 s, and each search for it is answered by ruru.
  private func search(
    _ test: inout TestKernel, for server: EntityID,
    _ answerFirst: (inout TestKernel, Transmission) -> Void = { _, _ in }
  ) {
    for _ in 0..<10 {
      receive(&test, request(server, forwardCount: 1), from: tui)
      test.run(for: .milliseconds(500)) { test, probe in
        switch TestKernel.probed(probe) {
        case .manager(of: ruru):
          let locator = Locator(ipv4: 0x0A4D_0002, port: port(of: ruru))
          test.answerProbe(probe.header.transaction, of: ruru, host: "ruru", from: locator)
        case client where [.group(.managerGroup), place(of: ruru)].contains(probe.destination):
          answerFirst(&test, probe)
          answer(&test, probe, state(of: client), from: ruru)
        default: break
        }
      }
    }
  }

  @Test(
    "one whose kernel has ended is found on another, when its request comes forwarded",
    arguments: [false, true])
  func onThird(hasMoved: Bool) {
    let weka = KernelID(0x0A4D_0005)
    var test = met([moa, tui, ruru, weka])
    let server = test.kernel.makeServer(.atMostOnce)
    if hasMoved {
      let header = request(.manager(of: moa), of: test.kernel.manager)
      let probe = Transmission(to: place(of: moa), header)
      answer(&test, probe, ProbeEntity.Moved(client, to: weka).message, from: moa)
      #expect(test.kernel.kernel(of: client) == weka)
    }
    search(&test, for: server)
    #expect(test.kernel.kernel(of: client) == ruru)
    #expect(test.kernel.clientStatus().map(\.server) == [server])
  }

  @Test("one whose kernel answers when it is sought is not where another says")
  func soughtAnswers() {
    var test = met([moa, tui, ruru])
    let server = test.kernel.makeServer(.atMostOnce)
    var searches = 0
    search(&test, for: server) { test, probe in
      searches += 1
      answer(&test, probe, Message(reply: .busy), from: moa)
    }
    #expect(searches > 2)
    #expect(test.kernel.kernel(of: client) == moa)
  }

  @Test("of a forwarded request, who asks is told: its forwarder or the client itself")
  func told() throws {
    var test = met([moa, tui])
    let server = test.kernel.makeServer(.atMostOnce)
    _ = try invoked(&test, request(server, forwardCount: 1), from: tui)
    for asker in [tui, moa, tui] {
      receive(&test, request(server, retransmitCount: 1, forwardCount: 1), from: asker)
      let answers = sent(test.taken())
      #expect(answers.map(\.destination) == [place(of: asker)])
      #expect(
        answers.map(\.header.mcb.code)
          == [asker == moa ? Management.notifyClient : Management.notifyRemoteClient])
    }
  }

  @Test("what is said as to a forwarder is for the client that asks that kernel itself")
  func toldAsForwarder() {
    var test = met([moa, tui])
    let client = test.kernel.makeClient(user: "bob")
    let id = test.send(from: client, to: EntityID(kernel: moa, discriminator: 20))
    let notify = NotifyClient(
      client: client, transaction: id, delivery: [], code: .nonexistentEntity,
      retransmitCount: 0, forwardCount: 1)
    receive(&test, notify.remoteMCB, from: tui)
    #expect(test.completions() == [:])
    receive(&test, notify.remoteMCB, from: moa)
    #expect(test.completions() == [client: .nonexistentEntity])
  }
}
