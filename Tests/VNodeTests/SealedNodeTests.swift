import Fixtures
import Testing
import VNode
import VProtocol
import VTransport

@Suite("Sealed packets at a node")
struct SealedNodeTests {
  private static let secret = (0..<32).map { UInt8($0) }
  private static let kernelS = KernelID(0xA1B2_C301)
  private static let kernelN = KernelID(0x0D0E_0F11)
  private static let source = Locator(ipv4: 0x0A00_0001, port: 61_044)

  /// The node of kernel N, or of another one, with its packets; it has heard a multicast of kernel
  /// S, unless S must be unknown.
  private struct Bench {
    let machine: FakeMachine
    let node: Node
    /// Senders for which it has a key only for their answer: they were probed.
    private let asked = Asked()
    private let hasHeardS: Bool

    private final class Asked { var senders: Set<[UInt8]> = [] }

    init(
      kernel: KernelID = kernelN, secret: [UInt8]? = SealedNodeTests.secret,
      isStranger: Bool = false
    ) {
      machine = FakeMachine(kernel: kernel)
      node = Node(host: "kea", machine: machine, secret: secret)
      hasHeardS = !isStranger && kernel == kernelN && secret == SealedNodeTests.secret
      guard hasHeardS else { return }
      let other = FakeMachine(kernel: kernelS, wallClock: 1)
      Node(host: "moa", machine: other, secret: secret).announce()
      for packet in other.takeSent().flatMap(\.packets) {
        _ = refusal(of: packet, isMulticast: true)
      }
      _ = machine.takeSent()
    }

    /// The error that refuses a packet, or nil.
    func refusal(of packet: [UInt8], isMulticast: Bool = false) -> WireError? {
      var copy = packet
      return copy.withUnsafeMutableBytes { bytes -> WireError? in
        do throws(WireError) {
          try node.handlePacket(
            bytes, from: SealedNodeTests.source, isMulticast: isMulticast)
          return nil
        } catch {
          return error
        }
      }
    }

    /// It is refused, and nothing changes: no key opens it; or its sender is unknown, and may be
    /// probed, which makes a key for its answer.
    func expectUnopened(_ packet: [UInt8], isMulticast: Bool = false, _ note: Comment) {
      let sender = Array(packet.suffix(28).prefix(4))
      let isS = hasHeardS && sender == [0xA1, 0xB2, 0xC3, 0x01]
      let isKnown = isMulticast || isS || asked.senders.contains(sender)
      #expect(refusal(of: packet) == (isKnown ? .badSeal : .unknownSender), note)
      let sent = machine.takeSent()
      #expect(sent.count <= (isKnown ? 0 : 1), note)
      #expect(sent.allSatisfy { $0.packets.count == 1 }, note)
      if !sent.isEmpty { asked.senders.insert(sender) }
    }

    /// Refused with `error`, and nothing happened.
    func expectRefusal(of packet: [UInt8], _ error: WireError?, _ note: Comment) {
      let before = node.counters
      #expect(refusal(of: packet) == error, note)
      #expect(machine.takeSent().isEmpty, note)
      #expect(node.counters == before, note)
    }
  }

  private let probe = Fixture.named("s1").bytes
  private let answer = Fixture.named("s2").bytes
  private let announcement = Fixture.named("s3").bytes

  @Test("F1: a sealed probe is answered with exactly the sealed golden answer")
  func golden() throws {
    let bench = Bench()
    #expect(bench.node.id == Self.kernelN)
    #expect(bench.machine.listened == [.managerGroup])
    #expect(bench.refusal(of: probe) == nil)
    let sent = bench.machine.takeSent()
    #expect(sent.map(\.packets) == [[answer]])
    #expect(sent.first?.destination == .peer(Self.kernelS, Self.source))
  }

  @Test("the golden answer opens at its receiver, and at no other kernel")
  func answerOpens() {
    for (kernel, refusal) in [(Self.kernelS, nil), (KernelID(0x0D0E_0F13), WireError.badSeal)] {
      let bench = Bench(kernel: kernel)
      #expect(bench.refusal(of: answer) == .unknownSender)
      _ = bench.machine.takeSent()
      // It has been probed, and may answer.
      #expect(bench.refusal(of: answer) == refusal)
    }
  }

  @Test("numbers go on: the next answer is another packet")
  func nextNumber() throws {
    let bench = Bench()
    #expect(bench.refusal(of: probe) == nil)
    // The same probe with another packet number cannot be made here; the announcement uses the
    // multicast key and the next number.
    bench.node.announce()
    let sent = bench.machine.takeSent()
    #expect(sent.count == 2)
    let number = Array(sent[1].packets[0].suffix(24).prefix(8))
    #expect(number == [0x17, 0x97, 0x9C, 0xFE, 0x36, 0x2A, 0, 2])
    #expect(sent[1].destination == .group(.managerGroup))
  }

  @Test("Q1: a sealed packet with any flipped bit is refused and has no effect")
  func flips() {
    let bench = Bench()
    for fixture in [probe, announcement] {
      for bit in 0..<(fixture.count * 8) {
        var packet = fixture
        packet[bit / 8] ^= 0x80 >> UInt8(bit % 8)
        // Another sender, which may be probed.
        if (64 * 8)..<(68 * 8) ~= bit {
          bench.expectUnopened(packet, isMulticast: fixture == announcement, "bit \(bit)")
          continue
        }
        let error: WireError =
          switch bit {
          case 64..<67: .badVersion(4 >> UInt8(bit - 64) ^ PacketHeader.version)
          case 81: .unexpectedSealing
          default: .badSeal
          }
        bench.expectRefusal(of: packet, error, "bit \(bit)")
      }
    }
    // None of them used up the packets' numbers.
    #expect(bench.refusal(of: probe) == nil)
    #expect(bench.refusal(of: announcement) == nil)
  }

  @Test("every truncation of a sealed packet is refused")
  func truncations() {
    let bench = Bench()
    let packet = Fixture.named("s4").bytes
    for count in 0..<packet.count {
      let cut = Array(packet.prefix(count))
      if count >= 92 {
        bench.expectUnopened(cut, "\(count) octets")
        continue
      }
      let error: WireError = count < 12 ? .unexpectedSealing : .truncated(needed: 92, found: count)
      bench.expectRefusal(of: cut, error, "\(count) octets")
    }
    for count in 1...16 {
      let longer = packet + [UInt8](repeating: 0, count: count)
      bench.expectUnopened(longer, "\(count) octets more")
    }
    #expect(bench.refusal(of: packet) == nil)
  }

  @Test("Q1: a packet is accepted once")
  func replay() {
    let bench = Bench()
    for packet in [probe, announcement] {
      #expect(bench.refusal(of: packet) == nil)
      _ = bench.machine.takeSent()
      for _ in 0..<3 { bench.expectRefusal(of: packet, .replayed, "again") }
    }
  }

  @Test("unicast and multicast numbers of one kernel are separate")
  func separateWindows() {
    let bench = Bench()
    // The largest possible number comes first; then 7 would be far too old in the same window.
    #expect(bench.refusal(of: announcement) == nil)
    #expect(bench.refusal(of: probe) == nil)
  }

  @Test("Q1: a packet that comes back to its sender is refused")
  func reflected() {
    let bench = Bench()
    #expect(bench.refusal(of: probe) == nil)
    for sent in bench.machine.takeSent() {
      for packet in sent.packets { bench.expectRefusal(of: packet, .badSeal, "reflected") }
    }
    var forged = answer
    forged.replaceSubrange(64..<68, with: [0xA1, 0xB2, 0xC3, 0x01])
    bench.expectRefusal(of: forged, .badSeal, "under the other one's name")
    bench.node.announce()
    for sent in bench.machine.takeSent() {
      for packet in sent.packets { bench.expectRefusal(of: packet, .ownMulticast, "own multicast") }
    }
  }

  @Test("another cluster's key opens nothing")
  func otherKey() {
    let bench = Bench(secret: Self.secret.reversed())
    bench.expectRefusal(of: announcement, .badSeal, "other key")
    for fixture in [probe, Fixture.named("s4").bytes] {
      bench.expectUnopened(fixture, "other key")
    }
  }

  @Test("Q2: a sealed node accepts no clear packet", arguments: Fixture.clear)
  func clearPacket(fixture: Fixture) {
    // c09 has the EPG bit set, and so is treated as a sealed one.
    let looksSealed = fixture.name.hasPrefix("c09")
    Bench().expectRefusal(
      of: fixture.bytes, looksSealed ? .truncated(needed: 92, found: 68) : .unexpectedSealing,
      "clear")
  }

  @Test("Q2: a clear node accepts no sealed packet", arguments: Fixture.sealed)
  func sealedPacket(fixture: Fixture) {
    Bench(secret: nil).expectRefusal(of: fixture.bytes, .unexpectedSealing, "sealed")
  }

  @Test("a clear node answers the clear golden probe with the clear golden answer")
  func clearNode() {
    let bench = Bench(secret: nil)
    let probe = Fixture.named("c16").bytes
    #expect(bench.refusal(of: probe) == nil)
    #expect(bench.machine.takeSent().map(\.packets) == [[Fixture.named("c17").bytes]])
    for count in 0..<probe.count {
      let packet = Array(probe.prefix(count))
      // If the last four octets happen to be zero, they mean that there is no checksum.
      let found = bench.refusal(of: packet)
      #expect(found != nil && found != .replayed, "\(count) octets")
    }
    var broken = probe
    broken[40] ^= 1
    bench.expectRefusal(of: broken, .badChecksum, "broken")
    #expect(bench.machine.takeSent().isEmpty)
  }
}
