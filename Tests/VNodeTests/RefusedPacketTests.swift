import Fixtures
import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

/// Packets that break the protocol, at a node of each kind: nothing comes of them.
@Suite("Packets that a node refuses")
struct RefusedPacketTests {
  private static let kernel = KernelID(0x0D0E_0F11)
  private static let source = Locator(ipv4: 0x0A00_0001, port: 61_044)

  /// A node with a server for entity 17, and all that a packet can change of it.
  private struct Bench {
    let machine = FakeMachine(kernel: RefusedPacketTests.kernel)
    let node: Node

    init(isSealed: Bool) {
      let secret = isSealed ? [UInt8](repeating: 9, count: 32) : nil
      node = Node(host: "kea", machine: machine, secret: secret)
      // The numbers of entities begin at 16.
      _ = node.makeClient(user: "ann")
      let server = node.makeServer(knowsPrincipals: true) { _ in
        Issue.record("a refused request was given to a server")
      }
      #expect(server.discriminator == 17)
    }

    /// How many of the packets in one datagram were refused.
    func refusals(of packet: [UInt8]) -> Int {
      var copy = packet
      var count = 0
      copy.withUnsafeMutableBytes { bytes in
        node.handlePackets(
          bytes, stride: max(1, packet.count), from: RefusedPacketTests.source
        ) { _ in count += 1 }
      }
      return count
    }

    /// It is refused and counted once, and changes nothing.
    func expectNothing(of packet: [UInt8], _ note: Comment) {
      let before = node.counters
      #expect(refusals(of: packet) == 1, note)
      #expect(machine.takeSent().isEmpty, note)
      #expect(node.counters == before, note)
      #expect(node.clients.isEmpty && node.peers.isEmpty, note)
    }
  }

  @Test("F2: a clear packet with any flipped bit is dropped, counted and not answered")
  func flips() {
    let bench = Bench(isSealed: false)
    for name in ["v3", "c16"] {
      let packet = Fixture.named(name).bytes
      for bit in 0..<(packet.count * 8) {
        var flipped = packet
        flipped[bit / 8] ^= 0x80 >> UInt8(bit % 8)
        bench.expectNothing(of: flipped, "\(name), bit \(bit)")
      }
    }
  }

  /// A request to the server with 1,030 octets of segment, of which a packet has the first 512, and
  /// with a checksum that is right; `change` gets it before that.
  private func request(_ change: (inout [UInt8]) -> Void = { _ in }) -> [UInt8] {
    var header = PacketHeader(
      function: .request, client: EntityID(kernel: KernelID(0xA1B2_C301), discriminator: 16),
      transaction: TransactionID(7), server: EntityID(kernel: Self.kernel, discriminator: 17),
      mcb: MessageControlBlock(code: 0x7701))
    header.mcb.setSegmentSize(1030)
    header.delivery = DeliveryMask(rawValue: 1)
    header.dataWords = 128
    var bytes = [UInt8](repeating: 0, count: PacketHeader.byteCount)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    header.emit(into: &raw)
    bytes += [UInt8](repeating: 7, count: 512)
    change(&bytes)
    let sum = Checksum.of(bytes.span.bytes, count: bytes.count)
    return bytes + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: sum >> $0) }
  }

  @Test("F4: a packet that contradicts itself is dropped, leaves no state and is not answered")
  func contradictions() {
    let bench = Bench(isSealed: false)
    let wrong: [(String, (inout [UInt8]) -> Void)] = [
      ("odd Length", { $0[11] = 127 }),
      ("Length above 4,096", { ($0[10], $0[11]) = ($0[10] | 0x10, 2) }),
      ("Length of another size", { $0[11] = 126 }),
      ("fewer octets than Length says", { $0.removeLast(8) }),
      ("a block beyond the segment", { $0[23] = 8 }),
      ("two blocks, and octets of one", { $0[23] = 3 }),
      ("data without SDA", { $0[32] = 0 }),
      ("SegmentSize above 16,384", { ($0[62], $0[63]) = (0x40, 1) }),
    ]
    for (what, change) in wrong { bench.expectNothing(of: request(change), "\(what)") }
    #expect(bench.refusals(of: request()) == 0)
    #expect(bench.machine.takeSent().count == 1, "the sound one is heeded")
  }

  @Test("F8: random octets, also behind a good beginning, are dropped and leave nothing behind")
  func randomOctets() {
    var generator = SeededGenerator(seed: 8)
    for isSealed in [false, true] {
      let bench = Bench(isSealed: isSealed)
      let entities = bench.node.entities().count
      var refused = 0
      for _ in 0..<5000 {
        let count = Int(generator.next() % 300)
        var packet = (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        // A third is random throughout; the others have a version, a domain and a length.
        if count > 12, generator.next() % 3 > 0 {
          let start = isSealed ? Fixture.named("s1").bytes : request()
          packet.replaceSubrange(8..<12, with: start[8..<12])
        }
        refused += bench.refusals(of: packet)
      }
      #expect(refused == 5000)
      // Unknown senders of sealed packets are probed, ten in a second.
      #expect(bench.machine.takeSent().count <= (isSealed ? 10 : 0))
      #expect(bench.node.clients.isEmpty && bench.node.peers.isEmpty)
      #expect(bench.node.entities().count == entities)
      #expect(bench.node.keyDerivations <= 20)
    }
  }
}
