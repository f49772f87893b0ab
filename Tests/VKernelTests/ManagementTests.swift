import Testing
import VKernel
import VProtocol
import VTransport

@Suite("What kernels tell each other", .timeLimit(.minutes(1)))
struct ManagementTests {
  private let moa = KernelID(0x0A4D_0002)

  /// The packet of a message to this kernel's manager.
  private func header(_ message: Message, from client: EntityID) -> PacketHeader {
    PacketHeader(
      function: .request, client: client, transaction: TransactionID(0),
      server: .manager(of: TestKernel.id), mcb: message.mcb)
  }

  /// The code with which a transaction with moa ends after a notification.
  private func end(told by: EntityID, through sender: KernelID, at port: UInt16) -> ReplyCode? {
    var test = TestKernel()
    let client = test.kernel.makeClient(user: "ann")
    let server = EntityID(kernel: moa, discriminator: 20)
    test.receive(from: moa.rawValue, to: .manager(of: TestKernel.id))
    test.send(from: client, to: server)
    var number = TransactionID(0)
    for case .transmit(let sent) in test.taken() {
      if let begin = try? BeginTransaction(
        parsing: Message(sent.header.mcb, segment: sent.segment)),
        begin.client == client
      {
        number = begin.transaction
      }
    }
    let notice = NotifyClient(
      client: client, transaction: number, delivery: [], code: .nonexistentEntity,
      retransmitCount: 0)
    test.receive(header(Message(notice.mcb), from: by), from: sender, at: port)
    return test.completions()[client]
  }

  @Test(
    "Q3: the end of a transaction is believed of the manager of the kernel that was asked, alone"
  )
  func notifications() {
    let tui = KernelID(0x0A4D_0003)
    #expect(end(told: .manager(of: moa), through: moa, at: 61044) == .nonexistentEntity)
    #expect(
      end(told: EntityID(kernel: moa, discriminator: 99), through: moa, at: 61044) == nil)
    #expect(end(told: .manager(of: tui), through: tui, at: 7) == nil)
    #expect(end(told: .manager(of: moa), through: tui, at: 7) == nil)
  }

  @Test("who a client is, is believed of its own kernel's manager, alone")
  func principals() {
    let client = EntityID(kernel: moa, discriminator: 16)
    func records(told by: EntityID, through sender: KernelID, host: String = "moa") -> Int {
      var test = TestKernel()
      let begin = BeginTransaction(
        ProbeEntity.EntityState(
          transaction: TransactionID(7), entity: client, isAwaitingResponse: true,
          principal: "root@\(host)", marks: .fullRoot))
      test.receive(header(begin.message, from: by), begin.message.segment, from: sender)
      return test.kernel.clientStatus().count
    }
    let tui = KernelID(0x0A4D_0003)
    #expect(records(told: .manager(of: moa), through: moa) == 1)
    #expect(records(told: client, through: moa) == 0)
    #expect(records(told: .manager(of: tui), through: tui) == 0)
    #expect(records(told: .manager(of: moa), through: moa, host: "kea") == 0)
  }

  /// A kernel whose server has been given the request of moa's client.
  private func working(_ test: inout TestKernel) -> Request? {
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa.rawValue, to: server)
    for probe in sent(test.taken()) { test.answer(probe, transaction: TransactionID(7)) }
    for case .invoke(let request) in test.taken() { return request }
    return nil
  }

  @Test("that a response has come is believed of the client's kernel, alone")
  func discards() throws {
    let tui = KernelID(0x0A4D_0003)
    for (teller, isRepeated) in [(tui, true), (moa, false)] {
      var test = TestKernel()
      let given = working(&test)
      let request = try #require(given)
      test.kernel.reply(Message(reply: .endOfFile), to: request, &test.step)
      let notice = NotifyServer(
        server: request.server, client: request.client, transaction: request.transaction,
        delivery: [], code: .ok)
      test.receive(
        header(Message(notice.mcb), from: .manager(of: teller)), from: teller,
        at: teller == moa ? 61044 : 7)
      _ = test.taken()
      var again = PacketHeader(
        function: .request, client: request.client, transaction: request.transaction,
        server: request.server, mcb: MessageControlBlock(code: 0x7701))
      again.retransmitCount = 1
      test.receive(again, from: moa)
      let answers = sent(test.taken()).filter { $0.header.function == .response }
      #expect(answers.isEmpty != isRepeated, "told by \(teller)")
    }
  }

  @Test("what became of a forwarded request is believed of the kernel where it went, alone")
  func forwards() throws {
    let (tui, emu) = (KernelID(0x0A4D_0003), KernelID(0x0A4D_0004))
    for (teller, ends) in [(emu, false), (tui, true)] {
      var test = TestKernel()
      let given = working(&test)
      let request = try #require(given)
      let next = EntityID(kernel: tui, discriminator: 20)
      test.kernel.forward(request, Message(request.message.mcb), to: next, &test.step)
      _ = test.taken()
      let notice = NotifyClient(
        client: request.client, transaction: request.transaction, delivery: [],
        code: .nonexistentEntity, retransmitCount: 0, forwardCount: 1)
      test.receive(
        header(Message(notice.remoteMCB), from: .manager(of: teller)), from: teller, at: 7)
      let told = sent(test.taken()).filter {
        $0.header.mcb.code == Management.notifyClient
          && NotifyClient(parsing: $0.header.mcb).client == request.client
      }
      #expect(told.isEmpty != ends, "told by \(teller)")
    }
  }
}
