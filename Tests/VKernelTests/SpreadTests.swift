import Testing
import VKernel
import VProtocol

@Suite("Requests that wait a random time (DRT)")
struct SpreadTests {
  private static let group = EntityID(group: 77, low: 7, isUnrestricted: true)

  private func receive(
    _ test: inout TestKernel, from kernel: UInt32, _ number: UInt32, control: ControlFlags
  ) -> Bool {
    let sender = KernelID(kernel)
    var header = PacketHeader(
      function: .request, client: EntityID(kernel: sender, discriminator: number),
      transaction: TransactionID(7), server: Self.group, mcb: MessageControlBlock(code: 0x7701))
    header.mcb.flags = .multipleResponses
    header.control = control
    test.receive(header, from: sender)
    return test.taken().contains { if case .invoke = $0 { true } else { false } }
  }

  @Test("G2: one kernel's requests beyond its share do not wait; those of others still do")
  func bounded() {
    var test = TestKernel()
    test.kernel.join(test.kernel.makeServer(.idempotent), group: Self.group)
    // Without DRT nothing waits.
    #expect(receive(&test, from: 0x0A4D_0002, 9, control: []))
    // Three eighths of 1024.
    let isInvoked = (100..<485).map {
      receive(&test, from: 0x0A4D_0002, $0, control: .delayResponse)
    }
    #expect(isInvoked == [Bool](repeating: false, count: 384) + [true])
    #expect(!receive(&test, from: 0x0A4D_0003, 100, control: .delayResponse))
    // All come in their time, and make room.
    var invoked = 0
    test.step.now = test.step.now + .milliseconds(10)
    test.kernel.handleTimers(&test.step)
    for case .invoke in test.taken() { invoked += 1 }
    #expect(invoked == 385)
    #expect(!receive(&test, from: 0x0A4D_0002, 9, control: .delayResponse))
  }
}
