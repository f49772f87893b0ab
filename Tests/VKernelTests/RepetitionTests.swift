import Testing
import VKernel
import VProtocol
import VTransport

@Suite("Every repetition ends", .timeLimit(.minutes(1)))
struct RepetitionTests {
  private let moa = KernelID(0x0A4D_0002)

  @Test("a request newer than what its client's kernel knows of is probed for a second")
  func futureRequest() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa.rawValue, to: server)
    var times: [Time] = []
    test.run(for: .seconds(60)) { test, sent in
      guard TestKernel.probed(sent)?.discriminator == 16 else { return }
      times.append(test.step.now)
      test.answer(sent, transaction: TransactionID(3))
    }
    #expect(2...13 ~= times.count && times.last! - times.first! < .seconds(2))
    #expect(test.kernel.clientStatus().isEmpty)
  }

  @Test("C6: a client that never says whether its response came is asked for half a minute")
  func unconfirmedResponse() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa.rawValue, to: server)
    for case .transmit(let probe) in test.taken() { test.answer(probe, transaction: .init(7)) }
    for case .invoke(let request) in test.taken() {
      test.kernel.reply(Message(reply: .ok), to: request, &test.step)
    }
    var responses = 0
    test.run(for: .seconds(300)) { test, sent in
      // Its kernel is heard all the time, and says nothing of this.
      if sent.header.function == .response, sent.header.server == server {
        responses += 1
        test.receive(from: moa.rawValue, 17, to: .manager(of: TestKernel.id))
      }
    }
    #expect(2...8 ~= responses)
    #expect(test.kernel.clientStatus().isEmpty)
  }

  @Test("a silent kernel is asked more and more seldom, and in the end no more")
  func silentKernel() {
    var test = TestKernel()
    let client = test.kernel.makeClient(user: "ann")
    test.receive(from: moa.rawValue, to: .manager(of: TestKernel.id))
    test.send(from: client, to: EntityID(kernel: moa, discriminator: 20))
    var probes: [Time] = []
    test.run(for: .seconds(7 * 86_400)) { test, sent in
      if sent.header.mcb.code == Management.probeEntity { probes.append(test.step.now) }
    }
    #expect(test.kernel.peerStatus(at: test.step.now).map(\.isSilent) == [true])
    #expect(17_000...36_000 ~= probes.count)
    #expect(probes.last! - probes.first! < .seconds(86_400))
    #expect(test.kernel.nextDeadline == nil)
  }
}
