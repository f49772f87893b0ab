import Testing
import VKernel
import VProtocol
import VTransport

@Suite("Entities on other kernels than their own", .timeLimit(.minutes(1)))
struct DepartedTests {
  private let moa = KernelID(0x0A4D_0002)
  private let tui = KernelID(0x0A4D_0003)
  private var client: EntityID { EntityID(kernel: moa, discriminator: 30) }

  /// A request of moa's client.
  private func request(
    _ server: EntityID, retransmitCount: UInt8 = 0, forwardCount: UInt8 = 0
  ) -> PacketHeader {
    var header = PacketHeader(
      function: .request, client: client, transaction: TransactionID(7), server: server,
      mcb: MessageControlBlock(code: 0x7701))
    header.retransmitCount = retransmitCount
    header.forwardCount = forwardCount
    return header
  }

  /// A kernel that moa and tui have sent to, from their places.
  private func met() -> TestKernel {
    var test = TestKernel()
    test.receive(from: moa.rawValue, to: .manager(of: TestKernel.id))
    test.receive(from: tui.rawValue, to: .manager(of: TestKernel.id), at: 7)
    _ = test.taken()
    return test
  }

  private func notices(_ test: inout TestKernel) -> [NotifyClient] {
    sent(test.taken()).map(\.header.mcb)
      .filter { $0.code == Management.notifyClient || $0.code == Management.notifyRemoteClient }
      .map { NotifyClient(parsing: $0) }
  }

  private func receive(
    _ test: inout TestKernel, _ header: PacketHeader, from sender: KernelID
  ) {
    test.receive(header, from: sender, at: sender == moa ? 61044 : 7)
  }

  @Test("a kernel says where a server went, unless it may have been given the request")
  func departed() {
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    #expect(test.kernel.freeze(server, for: tui, &test.step) != nil)
    receive(&test, request(server), from: moa)
    #expect(notices(&test).map(\.code) == [.busy], "it is on its way")
    test.kernel.release(server, &test.step)
    receive(&test, request(server), from: moa)
    let first = notices(&test)
    #expect(first.map(\.code) == [.entityMigrated] && first.first?.movedTo == tui)
    receive(&test, request(server, retransmitCount: 1), from: moa)
    #expect(notices(&test).map(\.code) == [.outcomeUnknown], "its record may be gone")
    receive(&test, request(server, retransmitCount: 1, forwardCount: 1), from: moa)
    #expect(notices(&test).map(\.code) == [.entityMigrated], "the forwarder has a record")
  }

  @Test("a client is taken to have moved only if the kernel where it was says so, or is silent")
  func clients() throws {
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    receive(&test, request(server), from: tui)
    let actions = sent(test.taken())
    let asked = try #require(actions.first { TestKernel.probed($0) == client })
    #expect(asked.destination == .peer(moa, Locator(ipv4: 0x0A4D_0002, port: 61044)))
    #expect(
      actions.contains {
        $0.header.mcb.code == Management.notifyClient
          && NotifyClient(parsing: $0.header.mcb).code == .busy
      })
    #expect(test.kernel.clientStatus().isEmpty)
    // Another kernel's word is none.
    let moved = ProbeEntity.Moved(client, to: tui, principal: "ann@moa")
    func answer(from sender: KernelID) -> PacketHeader {
      PacketHeader(
        function: .response, client: .manager(of: TestKernel.id),
        transaction: asked.header.transaction, server: .manager(of: sender),
        mcb: moved.message.mcb)
    }
    test.receive(answer(from: tui), moved.message.segment, from: tui, at: 7)
    #expect(test.kernel.kernel(of: client) == moa)
    test.receive(answer(from: moa), moved.message.segment, from: moa)
    #expect(test.kernel.kernel(of: client) == tui)
    _ = test.taken()
    receive(&test, request(server), from: tui)
    #expect(test.kernel.clientStatus().map(\.client) == [client])
    // Where it was, nobody may use its name any more.
    receive(&test, request(server, retransmitCount: 1), from: moa)
    #expect(notices(&test).map(\.code) == [.busy])
  }

  @Test("if the kernel of a client has ended, the client is a user of the host where it is")
  func principalOfOrphan() throws {
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    // tui is known by name.
    test.receive(from: tui.rawValue, to: server, at: 7)
    for probe in sent(test.taken()) where TestKernel.probed(probe)?.kernel == tui {
      test.answerProbe(
        probe.header.transaction, of: tui, host: "tui",
        from: Locator(ipv4: 0x0A4D_0002, port: 7))
    }
    var code = ReplyCode.busy
    var begin = BeginTransaction(
      ProbeEntity.EntityState(
        transaction: TransactionID(7), entity: client, isAwaitingResponse: true,
        principal: "root@moa", marks: .fullRoot))
    begin.state.marks = .fullRoot
    // moa answers nothing; after 2.0 s tui is believed to have the client.
    for _ in 0..<100 where code == .busy {
      test.run(for: .milliseconds(60)) { _, _ in }
      let header = PacketHeader(
        function: .request, client: .manager(of: tui), transaction: TransactionID(0),
        server: .managerGroup, mcb: begin.message.mcb)
      test.receive(header, begin.message.segment, from: tui, at: 7)
      code = notices(&test).last?.code ?? code
    }
    #expect(code == .retryAll)
    let principal = test.kernel.clientStatus().first { $0.client == client }?.principal
    #expect(principal == Principal(user: "root", host: "tui"), "without the marks")
  }

  @Test("a forward that this kernel said it had is not taken anew without its record")
  func forwards() {
    var test = met()
    let server = test.kernel.makeServer(.atMostOnce)
    receive(&test, request(server, retransmitCount: 1, forwardCount: 1), from: tui)
    #expect(notices(&test).map(\.code) == [.outcomeUnknown])
    #expect(test.kernel.clientStatus().isEmpty)
    receive(&test, request(server, forwardCount: 1), from: tui)
    #expect(test.kernel.clientStatus().map(\.client) == [client])
  }
}
