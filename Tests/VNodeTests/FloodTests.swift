import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

@Suite("A flood of packets that look sealed")
struct FloodTests {
  private let kea = SealedHost("kea", kernel: KernelID(0x0D0E_0F11))
  private let source = Locator(ipv4: 0x0A00_0066, port: 666)

  /// A packet of 92 octets that looks sealed by `sender` for one kernel, or for all.
  private func forged(_ sender: UInt32, isMulticast: Bool = false) -> [UInt8] {
    var packet = [UInt8](repeating: 0x5A, count: 92)
    packet.replaceSubrange(
      8..<12, with: [PacketHeader.version << 5 | 0x10, 0x45, isMulticast ? 0x60 : 0x40, 0])
    packet.replaceSubrange(64..<68, with: (0..<4).map { UInt8(sender >> (24 - 8 * $0) & 255) })
    return packet
  }

  @Test("Q4: costs no key, however many senders it invents, and is hardly answered")
  func strangers() {
    let derived = kea.node.keyDerivations
    for sender: UInt32 in 1...20_000 {
      #expect(kea.refusal(of: forged(sender * 2 + 1), from: source) == .unknownSender)
    }
    // One key, that of multicasts, for the probes of unknown senders: at most ten a second.
    #expect(kea.node.keyDerivations <= derived + 1)
    #expect(kea.takePackets().count == 10)
    for sender: UInt32 in 1...1000 {
      let packet = forged(sender * 2 + 1, isMulticast: true)
      #expect(kea.refusal(of: packet, from: source) == .badSeal)
    }
    #expect(kea.node.keyDerivations <= derived + 2)
    #expect(kea.takePackets().isEmpty)
    kea.machine.pass(.seconds(1))
    #expect(kea.refusal(of: forged(50_001), from: source) == .unknownSender)
    #expect(kea.takePackets().count == 1)
  }

  @Test("in the name of a probed kernel costs one key, and takes no other's place")
  func asked() {
    let moa = SealedHost("moa", kernel: KernelID(0xA1B2_C301))
    moa.node.announce()
    SealedHost.exchange([kea, moa])
    var derived = kea.node.keyDerivations
    for second: UInt32 in 0..<1000 {
      for _ in 0..<50 {
        _ = kea.refusal(of: forged(second * 2 + 1), from: source)
      }
      #expect(kea.node.keyDerivations <= derived + 1)
      derived = kea.node.keyDerivations
      kea.machine.pass(.seconds(1))
    }
    _ = kea.takePackets()
    // moa is known as before.
    moa.node.sendDatagram(
      Message(MessageControlBlock(code: 1)), from: moa.node.makeClient(user: "ann"),
      to: EntityID(kernel: kea.node.id, discriminator: 16))
    let packets = moa.takePackets()
    #expect(packets.count == 1)
    for packet in packets { #expect(kea.refusal(of: packet, from: moa.locator) == nil) }
    #expect(kea.node.keyDerivations == derived)
  }

  @Test("in the name of a known kernel is refused with the existing key")
  func knownSender() {
    let moa = SealedHost("moa", kernel: KernelID(0xA1B2_C301))
    moa.node.announce()
    SealedHost.exchange([kea, moa])
    let derived = kea.node.keyDerivations
    for _ in 0..<1000 {
      #expect(kea.refusal(of: forged(0xA1B2_C301), from: source) == .badSeal)
    }
    #expect(kea.node.keyDerivations == derived)
    #expect(kea.takePackets().isEmpty)
  }

  @Test("no more than 100 keys are derived in a second, and the others in the next")
  func budget() {
    let others = (1...80).map { SealedHost("h\($0)", kernel: KernelID(UInt32($0) * 2 + 1)) }
    // Each needs two keys: one to answer it, one to open its packets.
    func meet() {
      for other in others {
        other.node.announce()
        SealedHost.exchange([kea, other])
      }
    }
    meet()
    #expect(kea.node.keyDerivations == 100)
    let first = kea.node.peers.count
    #expect(30..<60 ~= first, "\(first)")
    meet()
    #expect(kea.node.keyDerivations == 100)
    kea.machine.pass(.seconds(1))
    meet()
    #expect(kea.node.keyDerivations == 162)
    #expect(kea.node.peers.count == 80)
  }

  @Test("a node that missed an announcement probes a kernel whose packets it cannot open")
  func missedAnnouncement() {
    let moa = SealedHost("moa", kernel: KernelID(0xA1B2_C301))
    moa.node.announce()
    SealedHost.exchange([kea, moa])
    // kea is restarted; moa does not hear of it, and still sends to the earlier kernel.
    let again = SealedHost("kea", kernel: KernelID(0x0D0E_0F13))
    let old = EntityID(kernel: kea.node.id, discriminator: 16)
    moa.node.sendDatagram(
      Message(MessageControlBlock(code: 1)), from: moa.node.makeClient(user: "ann"), to: old)
    for packet in moa.takePackets() {
      #expect(again.refusal(of: packet, from: moa.locator) == .unknownSender)
    }
    let (asked, told) = (again.machine.takeSent(), moa)
    #expect(asked.map(\.destination) == [.peer(moa.node.id, moa.locator)])
    for packet in asked.flatMap(\.packets) {
      #expect(told.refusal(of: packet, from: again.locator) == nil)
    }
    for packet in moa.takePackets() {
      #expect(again.refusal(of: packet, from: moa.locator) == nil)
    }
    #expect(again.node.peers.map(\.kernel) == [moa.node.id])
    #expect(again.node.peers.map(\.locator) == [moa.locator])
  }

  @Test("two kernels that have never met know each other after five packets")
  func meeting() {
    let moa = SealedHost("moa", kernel: KernelID(0xA1B2_C301))
    moa.node.announce()
    #expect(SealedHost.exchange([kea, moa]) == 5)
    #expect(kea.node.peers.map(\.kernel) == [moa.node.id])
    #expect(moa.node.peers.map(\.kernel) == [kea.node.id])
  }
}
