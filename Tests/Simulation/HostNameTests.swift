import NetworkFaults
import Testing
import VDirectory
import VKernel
import VNode
import VProtocol
import VRuntime
import VTransport

@Suite("One host, one name, in the simulator")
struct HostNameTests {
  private let key = [UInt8](repeating: 7, count: 32)

  private func send(
    _ simulator: Simulator, _ node: Node, to server: EntityID, limit: TimeSpan = .seconds(10)
  ) -> ReplyCode? {
    outcome(simulator) { (completion: @escaping @Sendable (ReplyCode) -> Void) in
      node.send(
        Message(MessageControlBlock(code: 0x7701)), from: node.makeClient(user: "ann"), to: server,
        options: SendOptions(timeLimit: limit)
      ) { completion($0.code) }
    }
  }

  /// Announces a new node as it does at its start.
  private func settle(_ node: Node, _ simulator: Simulator) {
    for _ in 0..<4 {
      node.announce()
      simulator.run(for: .milliseconds(100)) { node.nameHolder != nil }
    }
  }

  @Test("a host that starts under the name of a live one is alone, until that one ends")
  func startedLater() {
    let simulator = Simulator(seed: 61)
    let kea = simulator.start("kea", secret: key)
    let moa = simulator.start("moa", secret: key)
    for node in [kea, moa] { settle(node, simulator) }
    let again = simulator.start("kea", on: "copy", secret: key)
    let told = Shared<[KernelID?]>([])
    again.watchName { told.value.append($0?.kernel) }
    settle(again, simulator)
    #expect(again.nameHolder?.kernel == kea.id)
    #expect(again.nameHolder?.locator == simulator.machines[0].locator)
    #expect(told.value == [kea.id])
    #expect(kea.nameHolder == nil && moa.nameHolder == nil)
    // It neither sees others nor is seen by them.
    let (own, far) = (startCounter(again), startCounter(moa))
    again.join(own.server, group: .timeGroup)
    moa.join(far.server, group: .timeGroup)
    let before = simulator.now
    #expect(send(simulator, again, to: far.server) == .retransmissionTimeout)
    #expect(simulator.now - before < .milliseconds(1))
    #expect(send(simulator, moa, to: own.server, limit: .seconds(1)) == .userTimeout)
    #expect(own.executions.value.isEmpty && far.executions.value.isEmpty)
    // Local operations go on.
    #expect(send(simulator, again, to: own.server) == .ok)
    #expect(send(simulator, again, to: .timeGroup) == .ok)
    #expect(own.executions.value == [0: 2] && far.executions.value.isEmpty)
    // It stays so as long as the other one lives, and no longer.
    simulator.run(for: .seconds(60))
    #expect(again.nameHolder?.kernel == kea.id && told.value.count == 1)
    simulator.crash("kea")
    simulator.run(for: .seconds(4))
    #expect(again.nameHolder != nil)
    simulator.run(for: .seconds(13)) { again.nameHolder == nil }
    #expect(again.nameHolder == nil && told.value == [kea.id, nil])
    #expect(send(simulator, again, to: far.server) == .ok)
    #expect(send(simulator, moa, to: own.server) == .ok)
  }

  @Test("the names of the own host always lead to its own managers")
  func ownNames() throws {
    let simulator = Simulator(seed: 65)
    let kea = simulator.start("kea", secret: key)
    settle(kea, simulator)
    let first = try ClaimingHost("kea", in: simulator, node: kea)
    simulator.run(for: .seconds(2))
    let copy = simulator.start("kea", on: "copy", secret: key)
    settle(copy, simulator)
    let moa = simulator.start("moa", secret: key)
    settle(moa, simulator)
    let second = try ClaimingHost("kea", in: simulator, node: copy)
    let third = try ClaimingHost("moa", in: simulator, node: moa)
    simulator.run(for: .seconds(3))
    #expect(first.refusals.value.isEmpty && second.refusals.value.isEmpty)
    for (host, kernel) in [(first, kea.id), (second, copy.id), (third, kea.id)] {
      guard case .done(_, let manager)? = outcome(simulator, { host.walk("storage/kea", $0) })
      else {
        Issue.record("\(host.node.id) does not find storage/kea")
        continue
      }
      #expect(manager.kernel == kernel)
    }
  }

  @Test("it is found even in a network that loses every third packet", arguments: seeds)
  func lossy(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 33)
    let kea = simulator.start("kea", secret: key)
    settle(kea, simulator)
    let again = simulator.start("kea", on: "copy", secret: key)
    settle(again, simulator)
    // At the latest it is known when either of them multicasts.
    for _ in 0..<30 where again.nameHolder == nil {
      kea.announce()
      simulator.run(for: .seconds(2)) { again.nameHolder != nil }
    }
    #expect(again.nameHolder?.kernel == kea.id, "V_SEED=\(seed)")
    #expect(kea.nameHolder == nil, "V_SEED=\(seed)")
  }

  @Test("when two meet, the one that started later yields, and its transactions end")
  func meetLater() {
    let simulator = Simulator(seed: 62)
    let kea = simulator.start("kea", secret: key)
    simulator.run(for: .seconds(1))
    let copy = simulator.start("kea", on: "copy", secret: key)
    let moa = simulator.start("moa", secret: key)
    simulator.partition("kea", "copy")
    for node in [kea, copy, moa] { settle(node, simulator) }
    #expect(kea.nameHolder == nil && copy.nameHolder == nil)
    let silent = moa.makeServer(knowsPrincipals: true) { _ in }
    let code = Shared<ReplyCode?>(nil)
    copy.send(
      Message(MessageControlBlock(code: 1)), from: copy.makeClient(user: "ann"), to: silent,
      options: SendOptions()
    ) { code.value = $0.code }
    simulator.run(for: .seconds(3))
    #expect(code.value == nil)
    simulator.heal()
    kea.announce()
    simulator.run(for: .seconds(1)) { copy.nameHolder != nil }
    #expect(copy.nameHolder?.kernel == kea.id && kea.nameHolder == nil)
    #expect(code.value == .retransmissionTimeout)
  }

  @Test("a restarted host does not yield to its own earlier boot")
  func restarted() {
    let simulator = Simulator(seed: 63)
    let moa = simulator.start("moa", secret: key)
    settle(moa, simulator)
    settle(simulator.start("kea", secret: key), simulator)
    for _ in 0..<3 {
      simulator.crash("kea")
      let kea = simulator.start("kea", secret: key)
      settle(kea, simulator)
      let (server, _) = startCounter(kea)
      #expect(kea.nameHolder == nil)
      #expect(send(simulator, moa, to: server) == .ok)
    }
  }
}

@Suite("Principals that a kernel believes of another")
struct BeliefTests {
  private static let other = KernelID(0xA1B2_C301)
  private let place = Locator(ipv4: 0x0A00_0002, port: 61_044)

  private func take(
    _ kernel: inout Kernel, _ header: PacketHeader, _ segment: [UInt8] = []
  ) -> Step {
    var step = Step()
    step.now = Time(nanoseconds: 1_000_000_000)
    let transmission = Transmission(to: .peer(kernel.id, place), header, segment: segment)
    var bytes = [UInt8](repeating: 0, count: Transmission.packetBytesMax)
    var remaining = transmission.mask
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    let count = transmission.emitPacket(&remaining, into: &raw)
    let packet = Array(bytes[..<count])
    do {
      let parsed = try PacketHeader(parsing: packet.span.bytes, bodyBytes: count)
      kernel.handlePacket(packet.span.bytes, parsed, from: place, sender: Self.other, &step)
    } catch {
      Issue.record("\(error)")
    }
    return step
  }

  /// The principal of a request of a new client with this answer to the probe; nil if the request
  /// does not reach the server.
  private func principal(
    _ kernel: inout Kernel, _ server: EntityID, client discriminator: UInt32, said: String
  ) -> String? {
    let client = EntityID(kernel: Self.other, discriminator: discriminator)
    var step = take(
      &kernel,
      PacketHeader(
        function: .request, client: client, transaction: TransactionID(5), server: server,
        mcb: MessageControlBlock(code: 1)))
    var probe: PacketHeader?
    while let action = step.popFirst() {
      if case .transmit(let sent) = action, sent.header.mcb.code == Management.probeEntity {
        probe = sent.header
      }
    }
    guard let probe else { return nil }
    let state = ProbeEntity.EntityState(
      transaction: TransactionID(5), entity: client, isAwaitingResponse: true, principal: said
    ).message
    let answer = PacketHeader(
      function: .response, client: probe.client, transaction: probe.transaction,
      server: .manager(of: Self.other), mcb: state.mcb)
    step = take(&kernel, answer, state.segment)
    while let action = step.popFirst() {
      if case .invoke(let request) = action { return request.principal.map { "\($0)" } ?? "-" }
    }
    return nil
  }

  @Test(
    "one host for each kernel, never this one, and names are visible ASCII",
    arguments: [
      ("ann@moa", "ann@moa"), ("#7@moa", "#7@moa"), ("@moa", "-"), ("a@b@moa", nil),
      ("root@kea", nil), ("@kea", nil), ("ann@tui", nil), ("ann", nil), ("", nil), ("@", nil),
      ("ann@", nil), ("a n@moa", nil), ("ann@mo\u{301}a", nil), ("\u{e9}@moa", nil),
      ("ann\n@moa", nil), ("ann@\u{301}moa", nil),
    ])
  func principals(said: String, believed: String?) {
    var kernel = Kernel(id: KernelID(0x0D0E_0F11), host: "kea", entropy: 1)
    let server = kernel.makeServer(.atMostOnce)
    let first = principal(&kernel, server, client: 16, said: "bob@moa")
    #expect(first == "bob@moa")
    let second = principal(&kernel, server, client: 17, said: said)
    #expect(second == believed)
    let (refused, clients) = (kernel.counters.principalsRefused, kernel.clientStatus().count)
    #expect(refused == (believed == nil ? 1 : 0))
    #expect(clients == (believed == nil ? 1 : 2))
  }
}

@Suite("Which of two hosts yields their name")
struct HostNameConflictTests {
  private let place = Locator(ipv4: 1, port: 2)
  private func time(_ seconds: Double) -> Time {
    Time(nanoseconds: Int64(seconds * 1_000_000_000))
  }
  private func claimant(_ kernel: UInt32, _ startedAt: UInt64) -> HostNameConflict.Claimant {
    .init(kernel: KernelID(kernel), startedAt: startedAt)
  }

  @Test(
    "the one that started later, of two that started together the greater identifier",
    arguments: [(5, 100, false), (3, 100, true), (9, 99, true), (1, 101, false)]
      as [(
        UInt32, UInt64, Bool
      )])
  func order(kernel: UInt32, startedAt: UInt64, yields: Bool) {
    var one = HostNameConflict(own: claimant(4, 100))
    var other = HostNameConflict(own: claimant(kernel, startedAt))
    let actions = (
      one.handleAnswer(claimant(kernel, startedAt), from: place, at: time(0)),
      other.handleAnswer(claimant(4, 100), from: place, at: time(0))
    )
    #expect(actions.0 == (yields ? .yield : .nothing))
    #expect(actions.1 == (yields ? .nothing : .yield))
    #expect((one.holder == nil) != (other.holder == nil))
  }

  @Test("the holder is probed every 5 s, every second once overdue, and given up after 10")
  func timers() {
    var conflict = HostNameConflict(own: claimant(4, 100))
    let holder = claimant(3, 50)
    var action = conflict.handleAnswer(holder, from: place, at: time(0))
    #expect(action == .yield)
    action = conflict.handleTimer(at: time(4.9))
    #expect(action == .nothing)
    action = conflict.handleTimer(at: time(5))
    #expect(action == .probe(KernelID(3), place))
    action = conflict.handleAnswer(holder, from: place, at: time(5.1))
    #expect(action == .nothing)
    for second in [10.1, 11.1, 12.1, 13.1, 14.1] {
      #expect(conflict.wakeAt == time(second))
      action = conflict.handleTimer(at: time(second))
      #expect(action == .probe(KernelID(3), place))
    }
    action = conflict.handleTimer(at: time(15.1))
    #expect(action == .resume)
    #expect(conflict.holder == nil)
    action = conflict.handleTimer(at: time(30))
    #expect(action == .nothing)
  }

  @Test("an older kernel replaces the holder, a younger one does not")
  func third() {
    var conflict = HostNameConflict(own: claimant(4, 100))
    _ = conflict.handleAnswer(claimant(3, 50), from: place, at: time(0))
    var action = conflict.handleAnswer(claimant(8, 60), from: place, at: time(1))
    #expect(action == .nothing && conflict.holder?.kernel == KernelID(3))
    action = conflict.handleAnswer(claimant(8, 40), from: place, at: time(2))
    #expect(action == .yield && conflict.holder?.kernel == KernelID(8))
  }
}
