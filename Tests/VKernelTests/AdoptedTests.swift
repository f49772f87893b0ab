import Testing
import VKernel
import VProtocol
import VTransport

/// An entity leaves one kernel and comes to another one, kea, with what both know of its requests.
@Suite("Entities that come to a kernel")
struct AdoptedTests {
  private static let moa = KernelID(0x0A4D_0002)
  private static let tui = KernelID(0x0A4D_0003)

  private func port(of kernel: KernelID) -> UInt16 {
    kernel == Self.moa ? 61044 : UInt16(kernel.rawValue & 15)
  }

  private func place(of kernel: KernelID) -> Destination {
    .peer(kernel, Locator(ipv4: 0x0A4D_0002, port: port(of: kernel)))
  }

  /// A kernel that others have sent to, from their places.
  private func met(
    _ others: [KernelID] = [moa, tui], id: KernelID = TestKernel.id, host: String = "kea"
  ) -> TestKernel {
    var test = TestKernel(id: id, host: host)
    for other in others {
      test.receive(from: other.rawValue, to: .manager(of: id), at: port(of: other))
    }
    _ = test.taken()
    return test
  }

  /// Takes in a request, and answers a probe of its client.
  ///
  /// Returns the request, if its server is given it, and the code that its sender is told.
  private func ask(
    _ test: inout TestKernel, _ server: EntityID, of client: EntityID, _ id: TransactionID,
    retransmitCount: UInt8 = 0, forwardCount: UInt8 = 0, from sender: KernelID
  ) -> (invoked: Request?, told: ReplyCode?) {
    var header = PacketHeader(
      function: .request, client: client, transaction: id, server: server,
      mcb: MessageControlBlock(code: 0x7701))
    header.retransmitCount = retransmitCount
    header.forwardCount = forwardCount
    test.receive(header, from: sender, at: port(of: sender))
    var (invoked, told): (Request?, ReplyCode?)
    let state = ProbeEntity.EntityState(
      transaction: id, entity: client, isAwaitingResponse: true,
      principal: client.kernel == Self.moa ? "ann@moa" : "ann@tui")
    while !test.step.isEmpty {
      for action in test.taken() {
        switch action {
        case .invoke(let request): invoked = request
        case .transmit(let sent) where TestKernel.probed(sent) == client:
          test.answer(sent, state.message, from: client.kernel, at: port(of: client.kernel))
        case .transmit(let sent):
          let code = sent.header.mcb.code
          guard code == Management.notifyClient || code == Management.notifyRemoteClient
          else { continue }
          told = NotifyClient(parsing: sent.header.mcb).code
        default: break
        }
      }
    }
    return (invoked, told)
  }

  /// A client of moa has sent a request to a server of tui, and has left for kea.
  private func onItsWay() throws -> (client: EntityID, id: TransactionID, image: EntityImage) {
    var home = met([Self.tui], id: Self.moa, host: "moa")
    let client = home.kernel.makeClient(user: "ann")
    let id = home.send(from: client, to: EntityID(kernel: Self.tui, discriminator: 20))
    let image = try #require(home.kernel.freeze(client, for: TestKernel.id, &home.step))
    return (client, id, image)
  }

  @Test("a client comes to where its request was forwarded to, and leaves: it is not done twice")
  func forwardedThenMoved() throws {
    let (client, id, image) = try onItsWay()
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    let first = ask(&test, server, of: client, id, forwardCount: 1, from: Self.tui)
    #expect(first.invoked?.principal == Principal("ann@moa"))
    #expect(test.kernel.adopt(image, &test.step))
    // The forwarder, which has not heard that the request has come, sends it again.
    #expect(
      ask(&test, server, of: client, id, forwardCount: 1, from: Self.tui).invoked == nil)
    #expect(test.kernel.freeze(client, for: Self.moa, &test.step) != nil)
    test.kernel.release(client, &test.step)
    _ = test.taken()
    let again = ask(
      &test, server, of: client, id, retransmitCount: 1, forwardCount: 1, from: Self.moa)
    #expect(again.invoked == nil && again.told == .ok)
  }

  @Test("a forwarder whose record gives way to that of a client that leaves has nothing here")
  func giveBack() throws {
    let (client, id, image) = try onItsWay()
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    let asked = ask(&test, server, of: client, id, forwardCount: 1, from: Self.tui).invoked
    #expect(test.kernel.adopt(image, &test.step))
    #expect(test.kernel.freeze(client, for: Self.moa, &test.step) != nil)
    test.kernel.release(client, &test.step)
    test.kernel.reply(Message(reply: .ok), to: try #require(asked), &test.step)
    test.run(for: .seconds(60)) { _, _ in }
    #expect(test.kernel.clientStatus().isEmpty)
    // More kernels come than are known at once: those with nothing under way go.
    for number: UInt16 in 1000..<6000 {
      let other = KernelID(0x0B00_0000 + UInt32(number))
      test.receive(from: other.rawValue, to: .manager(of: TestKernel.id), at: number)
    }
    #expect(!test.kernel.peerStatus(at: test.step.now).contains { $0.kernel == Self.tui })
  }

  @Test("the server that a request was passed to here answers it, its client having come and gone")
  func passedOnThenMoved() throws {
    var home = met([TestKernel.id], id: Self.moa, host: "moa")
    var test = met()
    let (first, second) = (
      test.kernel.makeServer(.atMostOnce), test.kernel.makeServer(.atMostOnce)
    )
    let client = home.kernel.makeClient(user: "ann")
    let id = home.send(from: client, to: first)
    let image = try #require(home.kernel.freeze(client, for: TestKernel.id, &home.step))
    let asked = try #require(ask(&test, first, of: client, id, from: Self.moa).invoked)
    test.kernel.forward(asked, asked.message, to: second, &test.step)
    var passed: Request?
    for case .invoke(let request) in test.taken() { passed = request }
    #expect(test.kernel.adopt(image, &test.step))
    #expect(test.kernel.freeze(client, for: Self.moa, &test.step) != nil)
    test.kernel.release(client, &test.step)
    _ = test.taken()
    test.kernel.reply(Message(reply: .ok), to: try #require(passed), &test.step)
    let answers = sent(test.taken())
    #expect(answers.map(\.header.server) == [second])
    #expect(answers.first?.destination == place(of: Self.moa))
  }

  @Test("a client that knows of later forwards than the kernel where it comes goes on to the last")
  func forwardedPast() throws {
    var home = met([TestKernel.id], id: Self.moa, host: "moa")
    var test = met()
    let (first, second) = (
      test.kernel.makeServer(.atMostOnce), home.kernel.makeServer(.atMostOnce)
    )
    let third = EntityID(kernel: Self.tui, discriminator: 20)
    let client = home.kernel.makeClient(user: "ann")
    let id = home.send(from: client, to: first)
    // The first forwards it back to the client's host, and the second to the third.
    let one = try #require(ask(&test, first, of: client, id, from: Self.moa).invoked)
    test.kernel.forward(one, one.message, to: second, &test.step)
    let two = try #require(
      ask(&home, second, of: client, id, forwardCount: 1, from: TestKernel.id).invoked)
    home.kernel.forward(two, two.message, to: third, &home.step)
    let image = try #require(home.kernel.freeze(client, for: TestKernel.id, &home.step))
    _ = test.taken()
    #expect(test.kernel.adopt(image, &test.step))
    #expect(sent(test.taken()).map(\.destination) == [place(of: Self.tui)])
  }

  @Test("a record that came with its server says nothing about newer requests")
  func foreignRecord() throws {
    let client = EntityID(kernel: Self.tui, discriminator: 30)
    var source = met([Self.tui], id: Self.moa, host: "moa")
    let server = source.kernel.makeServer(.atMostOnce)
    let done = try #require(
      ask(&source, server, of: client, TransactionID(7), from: Self.tui).invoked)
    source.kernel.reply(Message(reply: .ok), to: done, &source.step)
    let image = try #require(source.kernel.freeze(server, for: TestKernel.id, &source.step))

    // It may have been done here, and its record is gone.
    var test = met()
    #expect(test.kernel.adopt(image, &test.step))
    let newer = ask(
      &test, server, of: client, TransactionID(8), retransmitCount: 1, from: Self.tui)
    #expect(newer.invoked == nil && newer.told == .outcomeUnknown)

    // One that was not sent before has not been done; from then on the record is of this kernel.
    test = met()
    #expect(test.kernel.adopt(image, &test.step))
    for (id, count) in [(8, 0), (9, 1)] as [(UInt32, UInt8)] {
      let asked = ask(
        &test, server, of: client, TransactionID(id), retransmitCount: count, from: Self.tui)
      #expect(asked.invoked?.transaction == TransactionID(id))
    }

    // A record that was here already told of all that was done here.
    test = met()
    let own = test.kernel.makeServer(.atMostOnce)
    let known = ask(&test, own, of: client, TransactionID(5), from: Self.tui).invoked
    test.kernel.reply(Message(reply: .ok), to: try #require(known), &test.step)
    #expect(test.kernel.adopt(image, &test.step))
    let next = ask(
      &test, server, of: client, TransactionID(8), retransmitCount: 1, from: Self.tui)
    #expect(next.invoked?.transaction == TransactionID(8))

    // Nor has one been done that was begun before it was sent.
    test = met()
    #expect(test.kernel.adopt(image, &test.step))
    let begin = BeginTransaction(
      ProbeEntity.EntityState(
        transaction: TransactionID(8), entity: client, isAwaitingResponse: true,
        principal: "ann@tui"))
    let header = PacketHeader(
      function: .request, client: .manager(of: Self.tui), transaction: TransactionID(0),
      server: .managerGroup, mcb: begin.message.mcb)
    test.receive(header, begin.message.segment, from: Self.tui, at: port(of: Self.tui))
    let asked = ask(
      &test, server, of: client, TransactionID(8), retransmitCount: 1, from: Self.tui)
    #expect(asked.invoked?.transaction == TransactionID(8))
  }

  @Test("a forwarder ends: what it forwarded is answered all the same, and is not done twice")
  func forwarderEnds() throws {
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    let client = EntityID(kernel: Self.moa, discriminator: 30)
    let id = TransactionID(7)
    let asked = ask(&test, server, of: client, id, forwardCount: 1, from: Self.tui).invoked
    test.boot(0x0A4D_0009, to: server, at: port(of: Self.tui))
    #expect(!test.kernel.peerStatus(at: test.step.now).contains { $0.kernel == Self.tui })
    test.kernel.reply(Message(reply: .ok), to: try #require(asked), &test.step)
    let answers = sent(test.taken()).filter { $0.header.client == client }
    #expect(answers.map(\.destination) == [place(of: Self.moa)])
    #expect(ask(&test, server, of: client, id, forwardCount: 1, from: Self.moa).invoked == nil)
  }
}
