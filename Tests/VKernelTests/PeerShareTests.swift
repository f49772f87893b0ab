import Testing
import VKernel
import VProtocol
import VTransport

@Suite("Shares of other kernels", .timeLimit(.minutes(1)))
struct PeerShareTests {
  private let moa: UInt32 = 0x0A4D_0002
  private let tui: UInt32 = 0x0A4D_0003

  @Test("one kernel has at most as many records and probes as it leaves free for others")
  func records() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    for client: UInt32 in 16..<10_016 { test.receive(from: moa, client, to: server) }
    let refused = codes(test.taken())
    #expect(test.kernel.clientStatus().count == 6144)
    #expect(refused.count == 10_000 - 6144 && refused.allSatisfy { $0 == .busy })
    // A second and a third one have as many as they leave free.
    for client: UInt32 in 16..<10_016 { test.receive(from: 7, client, to: server, at: 8) }
    for client: UInt32 in 16..<10_016 { test.receive(from: 8, client, to: server, at: 9) }
    #expect(test.kernel.clientStatus().count == 6144 + 5120 + 2560)
    _ = test.taken()
    // The next one is served: its client is probed.
    test.receive(from: tui, to: server, at: 7)
    let probes = test.taken().filter {
      if case .transmit(let sent) = $0 {
        sent.header.mcb.code == Management.probeEntity
          && sent.destination == .peer(KernelID(tui), Locator(ipv4: 0x0A4D_0002, port: 7))
      } else {
        false
      }
    }
    #expect(probes.count == 1)
    #expect(test.kernel.clientStatus().count == 6144 + 5120 + 2561)
  }

  /// The codes of all notifications among `actions`.
  private func codes(_ actions: [Action]) -> [ReplyCode] {
    actions.compactMap {
      guard case .transmit(let sent) = $0, sent.header.mcb.code == Management.notifyClient
      else { return nil }
      return NotifyClient(parsing: sent.header.mcb).code
    }
  }

  @Test("a kernel that boots anew gives back what the one before had")
  func reboot() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    for client: UInt32 in 16..<1016 { test.receive(from: moa, client, to: server) }
    #expect(test.kernel.clientStatus().count == 1000)
    test.boot(moa + 100, to: server)
    #expect(test.kernel.clientStatus().count == 1)
  }

  @Test("kernels that never existed, however many are asked for, push out no known one")
  func inventedKernels() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa, to: server)
    for kernel: UInt32 in 1...10_000 {
      let client = test.kernel.makeClient(user: "ann")
      test.send(
        from: client, to: EntityID(kernel: KernelID(0x0B00_0000 + kernel), discriminator: 16))
      _ = test.retire(client)
    }
    #expect(test.kernel.peerStatus(at: test.step.now).map(\.kernel) == [KernelID(moa)])
  }

  @Test("a host that boots again and again does not push out another one's dead kernel")
  func deadKernels() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa, to: server)
    test.boot(moa + 1, to: server)
    let client = test.kernel.makeClient(user: "ann")
    let gone = EntityID(kernel: KernelID(moa), discriminator: 16)
    for kernel: UInt32 in 1...1000 { test.boot(0x0B00_0000 + kernel, to: server, at: 7) }
    _ = test.taken()
    test.send(from: client, to: gone)
    test.run(for: .milliseconds(250)) { _, _ in }
    #expect(test.completions() == [client: .nonexistentEntity])
  }

  @Test("transactions with a kernel end when its host reboots, and no others do")
  func pending() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    test.receive(from: moa, to: server)
    test.receive(from: tui, to: server, at: 7)
    func entity(of kernel: UInt32) -> EntityID {
      EntityID(kernel: KernelID(kernel), discriminator: 16)
    }
    let clients = (0..<200).map { _ in test.kernel.makeClient(user: "ann") }
    for client in clients[..<100] { test.send(from: client, to: entity(of: moa)) }
    for client in clients[100...] { test.send(from: client, to: entity(of: tui)) }
    for client in clients[..<10] { _ = test.retire(client) }
    _ = test.taken()
    test.boot(moa + 100, to: server)
    let told = test.completions()
    #expect(Set(told.keys) == Set(clients[10..<100]))
    // None was sent: they were to be begun.
    #expect(told.values.allSatisfy { $0 == .nonexistentEntity })
  }
}
