import Fixtures
import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

@Suite("A repeated multicast")
struct ReplayedMulticastTests {
  @Test("an old multicast repeated by somebody else does not move a kernel")
  func multicastReplay() {
    let secret = (0..<32).map { UInt8($0) }
    let kernelS = KernelID(0xA1B2_C301)
    let machine = FakeMachine(kernel: KernelID(0x0D0E_0F11))
    let node = Node(host: "kea", machine: machine, secret: secret)
    let real = Locator(ipv4: 0x0A00_0001, port: 61_044)
    let attacker = Locator(ipv4: 0x0A00_0066, port: 666)
    func feed(_ bytes: [UInt8], _ from: Locator) {
      var copy = bytes
      copy.withUnsafeMutableBytes { try! node.handlePacket($0, from: from) }
    }
    feed(Fixture.named("s1").bytes, real)
    _ = machine.takeSent()
    // Recorded before this node booted, sent again by who has no key.
    feed(Fixture.named("s3").bytes, attacker)
    _ = machine.takeSent()
    node.send(
      Message(MessageControlBlock(code: 1)), from: node.makeClient(user: "ann"),
      to: EntityID(kernel: kernelS, discriminator: 20), options: SendOptions()
    ) { _ in }
    #expect(machine.takeSent().map(\.destination) == [.peer(kernelS, real)])
  }
}
