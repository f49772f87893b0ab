import Testing
import VKernel
import VProtocol
import VTransport

@Suite("Kernels of hosts with several addresses")
struct PlaceTests {
  private let moa = KernelID(0x0A4D_0002)
  private let first = Locator(ipv4: 0x0A4D_0002, port: 61_044)
  private let second = Locator(IPAddress("fd77::2")!, port: 61_044)

  /// A kernel that has heard moa at its first place.
  private func met() -> TestKernel {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    test.receive(from: moa.rawValue, to: server)
    _ = test.taken()
    return test
  }

  private func place(_ test: borrowing TestKernel) -> Locator? {
    test.kernel.peerStatus(at: test.step.now).first { $0.kernel == moa }?.locator
  }

  @Test("a request from another address is served, and does not move its kernel")
  func request() {
    var test = met()
    let server = test.kernel.makeServer(.idempotent)
    test.receive(from: moa.rawValue, to: server, from: second)
    #expect(test.taken().contains { if case .invoke = $0 { true } else { false } })
    // It is asked there if it was not heard at its place for a while.
    #expect(place(test) == first && test.probe(of: moa, at: second) == nil)
    test.pass(.seconds(1))
    test.receive(from: moa.rawValue, to: server, from: second)
    #expect(place(test) == first && test.probe(of: moa, at: second) != nil)
  }

  @Test("the answer to a probe of its own place moves a kernel at once")
  func answer() {
    var test = met()
    test.answerProbe(of: moa, host: "moa", from: second)
    #expect(place(test) == second)
  }

  @Test("a multicast that came by another network is taken in, and answered at the known place")
  func multicast() {
    var test = met()
    let group = EntityID.nodeGroup
    let member = test.kernel.makeServer(.idempotent)
    test.kernel.join(member, group: group)
    test.receive(from: moa.rawValue, to: group, from: second, isMulticast: true)
    var answered: [Destination] = []
    for action in test.taken() {
      guard case .invoke(let request) = action else { continue }
      test.kernel.reply(Message(reply: .ok), to: request, &test.step)
      answered += sent(test.taken()).map(\.destination)
    }
    #expect(answered == [.peer(moa, first)])
    #expect(place(test) == first)
  }

  @Test("one that owes an answer is asked for on all networks, long before it counts as silent")
  func search() {
    var test = met()
    let client = test.kernel.makeClient(user: "ann")
    test.send(from: client, to: EntityID(kernel: moa, discriminator: 20))
    // Twice, each time for it and for the server, which may have moved.
    #expect(test.searches(for: .milliseconds(1900)) == 4)
    // The host has another address, and answers there: the request goes there, and is not lost.
    test.answerProbe(of: moa, host: "moa", from: second)
    let actions = test.taken()
    #expect(sent(actions).contains { $0.destination == .peer(moa, second) })
    #expect(!actions.contains { if case .complete = $0 { true } else { false } })
  }

  @Test("a silent one is asked for now and then, as long as it is silent")
  func silence() {
    var test = met()
    test.send(
      from: test.kernel.makeClient(user: "ann"), to: EntityID(kernel: moa, discriminator: 20))
    _ = test.searches(for: .milliseconds(2100))
    let searches = test.searches(for: .seconds(60))
    #expect((8...12).contains(searches))
  }

  @Test("a host that boots anew is known by its name, at whichever of its addresses it is found")
  func reboot() throws {
    var test = met()
    test.answerProbe(of: moa, host: "moa", from: first)
    let client = test.kernel.makeClient(user: "ann")
    test.send(from: client, to: EntityID(kernel: moa, discriminator: 20))
    _ = test.taken()
    let next = KernelID(moa.rawValue + 1)
    test.answerProbe(of: next, host: "moa", from: second)
    let actions = test.taken()
    #expect(!actions.contains { if case .complete = $0 { true } else { false } })
    let asked = try #require(sent(actions).last { $0.destination == .peer(next, first) })
    test.answerProbe(asked.header.transaction, of: next, host: "moa", from: first)
    // The boot before does not answer there, and no other kernel has the server.
    test.run(for: .milliseconds(450)) { _, _ in }
    #expect(test.completions() == [client: .nonexistentEntity], "it was not even sent")
    // The boot before is known to have ended, wherever its host goes.
    test.answerProbe(of: next, host: "moa", from: second)
    test.send(from: client, to: EntityID(kernel: moa, discriminator: 20))
    #expect(test.completions() == [client: .nonexistentEntity])
  }
}

/// What is sent among some actions.
func sent(_ actions: [Action]) -> [Transmission] {
  actions.compactMap { if case .transmit(let transmission) = $0 { transmission } else { nil } }
}

extension TestKernel {
  /// Takes in a request of another kernel's client that comes from `source`.
  mutating func receive(
    from kernel: UInt32, to server: EntityID, from source: Locator, isMulticast: Bool = false
  ) {
    let sender = KernelID(kernel)
    var header = PacketHeader(
      function: .request, client: EntityID(kernel: sender, discriminator: 17),
      transaction: TransactionID(8), server: server, mcb: MessageControlBlock(code: 0x7701))
    if isMulticast { header.packetFlags.insert(.multicast) }
    let packet = [UInt8](repeating: 0, count: PacketHeader.byteCount)
    self.kernel.handlePacket(packet.span.bytes, header, from: source, sender: sender, &step)
  }

  /// The number of the last probe of a kernel that was sent to a place and not taken.
  mutating func probe(of kernel: KernelID, at place: Locator) -> TransactionID? {
    kept = taken()
    return sent(kept).last {
      $0.destination == .peer(kernel, place) && Self.probed($0) == .manager(of: kernel)
    }?.header.transaction
  }

  /// Takes in the answer of another kernel's manager to a search, and then, if it is asked there,
  /// to the probe of its place.
  mutating func answerProbe(of kernel: KernelID, host: String, from source: Locator) {
    answerProbe(TransactionID(9), of: kernel, host: host, from: source)
    guard let number = probe(of: kernel, at: source) else { return }
    answerProbe(number, of: kernel, host: host, from: source)
  }

  mutating func answerProbe(
    _ transaction: TransactionID, of kernel: KernelID, host: String, from source: Locator
  ) {
    let state = ProbeEntity.EntityState(
      transaction: TransactionID(0), entity: .manager(of: kernel), isAwaitingResponse: false,
      principal: "@\(host)"
    ).message
    let transmission = Transmission(
      to: .peer(Self.id, source),
      PacketHeader(
        function: .response, client: .manager(of: Self.id), transaction: transaction,
        server: .manager(of: kernel), mcb: state.mcb), segment: state.segment)
    var packet = [UInt8](repeating: 0, count: Transmission.packetBytesMax)
    var mask = transmission.mask
    let count = packet.withUnsafeMutableBytes { bytes in
      var span = MutableRawSpan(_unsafeBytes: bytes)
      return transmission.emitPacket(&mask, into: &span)
    }
    guard let header = try? PacketHeader(parsing: packet.span.bytes, bodyBytes: count)
    else { preconditionFailure("an answer that was laid out can be read") }
    self.kernel.handlePacket(packet.span.bytes, header, from: source, sender: kernel, &step)
  }

  /// Lets time pass, with its timers; returns how often a kernel was asked for by multicast.
  mutating func searches(for span: TimeSpan) -> Int {
    let end = step.now + span
    var count = 0
    while let next = kernel.nextDeadline, next <= end {
      step.now = max(step.now, next)
      kernel.handleTimers(&step)
      count += sent(taken()).filter { $0.destination == .group(.managerGroup) }.count
    }
    step.now = end
    return count
  }

  mutating func pass(_ span: TimeSpan) { _ = searches(for: span) }
}
