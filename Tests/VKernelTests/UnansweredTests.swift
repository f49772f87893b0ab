import Testing
import VKernel
import VProtocol
import VTransport

/// What a kernel answers, and what it does not.
@Suite("Packets that are answered, and that are not", .timeLimit(.minutes(1)))
struct UnansweredTests {
  private let moa = KernelID(0x0A4D_0002)
  private static let group = EntityID(group: 77, low: 7, isUnrestricted: true)

  /// A kernel that knows moa.
  private func acquainted() -> TestKernel {
    var test = TestKernel()
    test.receive(from: moa.rawValue, to: .manager(of: TestKernel.id))
    _ = test.taken()
    return test
  }

  private func request(
    _ code: UInt32 = 0x7701, to server: EntityID, isMulticast: Bool, isByManager: Bool = false
  ) -> PacketHeader {
    var header = PacketHeader(
      function: .request, client: EntityID(kernel: moa, discriminator: isByManager ? 1 : 16),
      transaction: TransactionID(7), server: server, mcb: MessageControlBlock(code: code))
    if isMulticast { header.packetFlags = .multicast }
    return header
  }

  /// The packets that a kernel sends because of one.
  private func sent(
    _ test: inout TestKernel, _ header: PacketHeader, _ segment: [UInt8] = []
  ) -> [PacketHeader] {
    test.receive(header, segment, from: moa)
    return test.taken().compactMap {
      if case .transmit(let sent) = $0 { sent.header } else { nil }
    }
  }

  @Test("I3, G11: a request to no server is answered at once, but never if it was multicast")
  func noServer() {
    let dead = EntityID(kernel: TestKernel.id, discriminator: 999)
    for server in [dead, Self.group] {
      var test = acquainted()
      let told = sent(&test, request(to: server, isMulticast: false))
      #expect(told.map { NotifyClient(parsing: $0.mcb).code } == [.nonexistentEntity])
      #expect(sent(&test, request(to: server, isMulticast: true)).isEmpty)
    }
    // An operation that no manager has.
    for isByManager in [false, true] {
      var test = acquainted()
      let wrong = request(
        0x01FF, to: .managerGroup, isMulticast: true, isByManager: isByManager)
      #expect(sent(&test, wrong).isEmpty)
      var one = wrong
      (one.server, one.packetFlags) = (.manager(of: TestKernel.id), [])
      #expect(sent(&test, one).map { Message($0.mcb).reply } == [.illegalRequest])
    }
  }

  @Test("G10: of two groups with one address each member gets the requests to its own")
  func sharedAddress() {
    // Their discriminators differ by a multiple of 15.
    let other = EntityID(group: 92, low: 7, isUnrestricted: true)
    for group in [Self.group, other] {
      var test = acquainted()
      let member = test.kernel.makeServer(.idempotent)
      test.kernel.join(member, group: Self.group)
      test.receive(request(to: group, isMulticast: true), from: moa)
      let asked = test.taken().compactMap { action -> EntityID? in
        if case .invoke(let request) = action { request.server } else { nil }
      }
      #expect(asked == (group == Self.group ? [member] : []))
    }
  }

  @Test("R5, C6: a response to an older call is dropped; if it has APG, its server may discard it")
  func olderResponse() {
    let server = EntityID(kernel: moa, discriminator: 20)
    for hasAPG in [false, true] {
      var test = acquainted()
      let client = test.kernel.makeClient(user: "ann")
      let id = test.kernel.send(
        Message(MessageControlBlock(code: 1)), from: client, to: server, limit: nil, &test.step)
      _ = test.taken()
      for (number, isCurrent) in [(id.previous, false), (id, true), (id, false)] {
        var header = PacketHeader(
          function: .response, client: client, transaction: number, server: server,
          mcb: MessageControlBlock())
        if hasAPG { header.control = .acknowledge }
        test.receive(header, from: moa)
        let actions = test.taken()
        let ended = actions.count { if case .complete = $0 { true } else { false } }
        #expect(ended == (isCurrent ? 1 : 0))
        let told = actions.compactMap { action -> ReplyCode? in
          guard case .transmit(let sent) = action else { return nil }
          return NotifyServer(parsing: sent.header.mcb).code
        }
        #expect(told == (hasAPG ? [isCurrent ? .ok : .responseDiscarded] : []))
      }
    }
  }

  @Test("I4: after T a client's identifier starts anew, and a lower number is no old one")
  func identifierAnew() {
    var test = acquainted()
    let server = test.kernel.makeServer(.atMostOnce)
    for number: UInt32 in [1000, 3] {
      let id = TransactionID(number)
      var header = request(to: server, isMulticast: false)
      header.transaction = id
      test.receive(header, from: moa)
      var executions = 0
      for _ in 0..<2 {
        for action in test.taken() {
          switch action {
          case .transmit(let sent) where TestKernel.probed(sent)?.discriminator == 16:
            test.answer(sent, transaction: id)
          case .invoke(let request):
            executions += 1
            test.kernel.reply(Message(reply: .ok), to: request, &test.step)
          default: break
          }
        }
      }
      #expect(executions == 1, "\(number)")
      // Nothing acknowledges the response; moa is heard all the time.
      for _ in 0..<900 {
        test.run(for: .seconds(1)) { _, _ in }
        test.receive(from: moa.rawValue, 17, to: .manager(of: TestKernel.id))
      }
      _ = test.taken()
      #expect(test.kernel.clientStatus().isEmpty)
    }
  }
}
