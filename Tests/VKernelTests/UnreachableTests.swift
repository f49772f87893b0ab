import Testing
import VKernel
import VProtocol
import VTransport

@Suite("What the network reports of other kernels")
struct UnreachableTests {
  private let moa = KernelID(0x0A4D_0002)
  private let place = Locator(ipv4: 0x0A4D_0002, port: 61_044)

  /// A kernel with two transactions under way with moa.
  private func waiting() -> TestKernel {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    test.receive(from: moa.rawValue, to: server)
    test.answerProbe(of: moa, host: "moa", from: place)
    for number: UInt32 in 20...21 {
      test.send(
        from: test.kernel.makeClient(user: "ann"), to: EntityID(kernel: moa, discriminator: number))
    }
    _ = test.taken()
    return test
  }

  /// Lets time pass until all is over or `span` has passed.
  ///
  /// Reports each probe as refused, but no more than `reports` of them. Returns the number of
  /// probes and the codes with which transactions ended.
  private func pass(
    _ span: TimeSpan, _ test: inout TestKernel, reports: Int = .max
  ) -> (probes: Int, codes: [ReplyCode]) {
    let end = test.step.now + span
    var (probes, reports) = (0, reports)
    var codes: [ReplyCode] = []
    while true {
      let actions = test.taken()
      for case .complete(_, _, let message) in actions { codes.append(message.reply) }
      for probe in sent(actions) where isProbe(probe) {
        probes += 1
        guard reports > 0 else { continue }
        reports -= 1
        test.kernel.handleUnreachable(at: place, &test.step)
      }
      guard let next = test.kernel.nextDeadline, next <= end, codes.count < 2 else { break }
      test.step.now = max(next, test.step.now)
      test.kernel.handleTimers(&test.step)
    }
    return (probes, codes)
  }

  private func isProbe(_ sent: Transmission) -> Bool {
    sent.header.mcb.code == Management.probeEntity && sent.destination == .peer(moa, place)
  }

  @Test("one whose probes are all refused is silent after four of them")
  func refused() {
    var test = waiting()
    let start = test.step.now
    test.kernel.handleUnreachable(at: place, &test.step)
    let (probes, codes) = pass(.seconds(2), &test)
    #expect(probes == 4)
    #expect(codes == [.retransmissionTimeout, .retransmissionTimeout])
    // By the clock of the test.
    #expect(test.step.now < start + .milliseconds(300))
    // Those that ask later have their answer at once, until it is heard again.
    test.send(
      from: test.kernel.makeClient(user: "ann"), to: EntityID(kernel: moa, discriminator: 22))
    #expect(test.completions().values.map { $0 } == [.retransmissionTimeout])
    test.answerProbe(of: moa, host: "moa", from: place)
    test.send(
      from: test.kernel.makeClient(user: "ann"), to: EntityID(kernel: moa, discriminator: 22))
    #expect(test.completions().isEmpty)
  }

  @Test("one report, however it came, ends nothing before its time")
  func once() {
    var test = waiting()
    let start = test.step.now
    test.kernel.handleUnreachable(at: place, &test.step)
    let early = pass(.milliseconds(1900), &test, reports: 0)
    #expect(early.codes.isEmpty && early.probes == 4)
    #expect(pass(.seconds(2), &test, reports: 0).codes.count == 2)
    #expect(test.step.now >= start + .seconds(2))
  }

  @Test("a kernel that answers is believed, however many reports a stranger forges")
  func forged() {
    var test = waiting()
    var probes = 0
    for _ in 0..<1000 {
      for _ in 0..<10 { test.kernel.handleUnreachable(at: place, &test.step) }
      let actions = test.taken()
      #expect(!actions.contains { if case .complete = $0 { true } else { false } })
      let asked = sent(actions).filter(isProbe).count
      probes += asked
      // Its answer takes a millisecond.
      test.pass(.milliseconds(1))
      if asked > 0 { test.answerProbe(of: moa, host: "moa", from: place) }
    }
    // Of 10,000 reports in a second.
    #expect((1...8).contains(probes))
  }

  @Test("a kernel that owes nothing, and a place without a kernel, are not asked")
  func idle() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    test.receive(from: moa.rawValue, to: server)
    _ = test.taken()
    test.kernel.handleUnreachable(at: place, &test.step)
    test.kernel.handleUnreachable(at: Locator(ipv4: 1, port: 2), &test.step)
    #expect(test.taken().isEmpty)
  }
}
