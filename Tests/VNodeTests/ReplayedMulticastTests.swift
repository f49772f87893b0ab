import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

@Suite("A repeated multicast")
struct ReplayedMulticastTests {
  @Test("an old multicast repeated by a stranger does not move a kernel")
  func multicastReplay() {
    let kernelS = KernelID(0xA1B2_C301)
    let kea = SealedHost("kea", kernel: KernelID(0x0D0E_0F11))
    let moa = SealedHost("moa", kernel: kernelS)
    let attacker = Locator(ipv4: 0x0A00_0066, port: 666)
    // Recorded before this node booted.
    moa.node.announce()
    let recorded = moa.takePackets()
    moa.node.announce()
    SealedHost.exchange([kea, moa])
    // Sent again by a stranger without the key.
    for packet in recorded { #expect(kea.refusal(of: packet, from: attacker) == nil) }
    let asked = kea.machine.takeSent().map(\.destination)
    #expect(asked == [.peer(kernelS, attacker)])
    kea.node.send(
      Message(MessageControlBlock(code: 1)), from: kea.node.makeClient(user: "ann"),
      to: EntityID(kernel: kernelS, discriminator: 20), options: SendOptions()
    ) { _ in }
    #expect(kea.machine.takeSent().map(\.destination) == [.peer(kernelS, moa.locator)])
  }
}
