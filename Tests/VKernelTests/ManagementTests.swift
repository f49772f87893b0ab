import Testing
import VKernel
import VProtocol
import VTransport

@Suite("What kernels tell each other", .timeLimit(.minutes(10)))
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
}
