import NetworkFaults
import Testing
import VProtocol
import VTransport

@Suite("Packet group on its way out")
struct TransmissionTests {
  private func masks(segment count: Int, mask: UInt32) throws -> [UInt32] {
    try packets(.request, 1, segment: count, mask: DeliveryMask(rawValue: mask)).map {
      $0.header.delivery.rawValue
    }
  }

  @Test("F7: RFC 1045's example: 14.5 blocks, mask 0x74FF, six packets")
  func example() throws {
    #expect(
      try masks(segment: 0x1D00, mask: 0x74FF) == [0x3, 0xC, 0x30, 0xC0, 0x1400, 0x6000])
    let packets = try packets(.request, 1, segment: 0x1D00, mask: DeliveryMask(rawValue: 0x74FF))
    #expect(packets.map(\.bytes.count) == [1088, 1088, 1088, 1088, 1088, 64 + 512 + 256])
    let segment = pattern(0x1D00)
    #expect(Array(packets[4].bytes[64..<576]) == Array(segment[5120..<5632]))
    #expect(Array(packets[4].bytes[576..<1088]) == Array(segment[6144..<6656]))
    #expect(Array(packets[5].bytes[576...]) == Array(segment[7168...]))
  }

  @Test("16 KB are 16 packets of two blocks")
  func whole() throws {
    let packets = try packets(.response, 1, segment: 16_384)
    #expect(packets.count == 16)
    #expect(Transmission.packetsMax == 16)
    #expect(packets.allSatisfy { $0.bytes.count == 1088 && $0.header.delivery.blockCount == 2 })
    #expect(packets.flatMap { $0.bytes[64...] } == pattern(16_384))
  }

  @Test(
    "every size at a boundary has its packets, the last one short and padded",
    arguments: [
      (0, [64]), (1, [72]), (8, [72]), (9, [80]), (511, [576]), (512, [576]), (513, [584]),
      (1023, [1088]), (1024, [1088]), (1025, [1088, 72]), (1536, [1088, 576]),
      (2048, [1088, 1088]), (15_873, Array(repeating: 1088, count: 15) + [584]),
      (16_383, Array(repeating: 1088, count: 16)),
    ])
  func sizes(count: Int, sizes: [Int]) throws {
    let packets = try packets(.request, 1, segment: count)
    #expect(packets.map(\.bytes.count) == sizes)
    var got: [UInt8] = []
    for packet in packets {
      let octets = packet.header.delivery.octets(segmentBytes: count)
      got += packet.bytes[64..<(64 + octets)]
      #expect(packet.bytes[(64 + octets)...].allSatisfy { $0 == 0 }, "padding is zero")
    }
    #expect(got == pattern(count))
  }

  @Test("all packets of any mask but the last have the same size, and none is too large")
  func strides() throws {
    var generator = SeededGenerator(seed: 1)
    for count in [16_384, 16_000, 5000, 513] {
      let whole = DeliveryMask(segmentBytes: count).rawValue
      for _ in 0..<200 {
        let mask = UInt32(truncatingIfNeeded: generator.next()) & whole
        guard mask != 0 else { continue }
        let packets = try packets(
          .request, 1, segment: count, mask: DeliveryMask(rawValue: mask))
        #expect(Set(packets.dropLast().map(\.bytes.count)).isSubset(of: [1088]))
        #expect(packets.allSatisfy { $0.bytes.count + 28 <= Transmission.packetBytesMax })
        #expect(packets.map(\.header.delivery.rawValue).reduce(0, |) == mask)
        #expect(packets.count == (mask.nonzeroBitCount + 1) / 2)
      }
    }
  }

  @Test("an empty mask sends the header alone, which still has the segment's size")
  func headerAlone() throws {
    let packets = try packets(.request, 1, segment: 3000, mask: [])
    #expect(packets.map(\.bytes.count) == [64])
    #expect(packets[0].header.mcb.segmentSize == 3000)
    #expect(packets[0].header.delivery.isEmpty)
  }

  @Test("every packet to a group has MPG")
  func multicast() throws {
    let header = PacketHeader(
      function: .request, client: client, transaction: TransactionID(1), server: group,
      mcb: message(segment: 2000).mcb)
    let mask = DeliveryMask(segmentBytes: 2000)
    let toGroup = Transmission(to: .group(group), header, segment: pattern(2000), mask: mask)
    #expect(try toGroup.packets().allSatisfy { $0.header.packetFlags == .multicast })
    let toMember = Transmission(
      to: .peer(kernelN, Locator(ipv4: 1, port: 2)), header, segment: pattern(2000), mask: mask)
    #expect(try toMember.packets().allSatisfy { $0.header.packetFlags == [] })
  }
}

@Suite("Packet group on its way in")
struct PacketGroupReceptionTests {
  /// Six packets of two blocks, the last one short.
  private static let size = 5900
  private let six: [Packet]

  init() throws { six = try packets(.request, 1, segment: Self.size) }

  private func take(_ packet: Packet, into reception: inout PacketGroupReception) -> Bool {
    reception.accept(packet.header, packet.bytes.span.bytes)
  }

  @Test("R1: six packets make one message in each of their 720 orders")
  func orders() {
    #expect(six.count == 6)
    let orders = permutations(6)
    #expect(Set(orders).count == 720)
    for order in orders {
      var reception = PacketGroupReception(six[order[0]].header)
      for (count, index) in order.enumerated() {
        #expect(!reception.isComplete)
        #expect(take(six[index], into: &reception))
        #expect(reception.received.blockCount == order.prefix(count + 1).map(blocks).reduce(0, +))
      }
      #expect(reception.isComplete)
      #expect(reception.message() == message(segment: Self.size))
    }
  }

  private func blocks(of packet: Int) -> Int { six[packet].header.delivery.blockCount }

  @Test("R2: every packet twice, in any order, changes nothing")
  func duplicates() {
    var generator = SeededGenerator(seed: 2)
    for _ in 0..<200 {
      let order = (Array(0..<6) + Array(0..<6)).shuffled(using: &generator)
      var reception = PacketGroupReception(six[order[0]].header)
      for index in order { #expect(take(six[index], into: &reception)) }
      #expect(reception.message() == message(segment: Self.size))
    }
  }

  @Test("blocks that overlap between packets count once, the first copy stays")
  func overlap() throws {
    var reception = PacketGroupReception(six[0].header)
    #expect(take(six[0], into: &reception))
    var again = try packets(
      .request, 1, segment: Self.size, mask: DeliveryMask(rawValue: 0b110))[0]
    for index in 64..<576 { again.bytes[index] = 0 }
    #expect(take(again, into: &reception))
    #expect(reception.received == DeliveryMask(rawValue: 0b111))
    for packet in six[1...] { #expect(take(packet, into: &reception)) }
    #expect(reception.message() == message(segment: Self.size))
  }

  @Test("a hole is a missing block below one that has arrived", arguments: 0..<64)
  func holes(present: Int) {
    var reception = PacketGroupReception(six[0].header)
    for index in 0..<6 where present >> index & 1 == 1 {
      #expect(take(six[index], into: &reception))
    }
    // No hole: the packets present are the lowest ones.
    let isPrefix = present & (present + 1) == 0
    #expect(reception.hasHole == !isPrefix)
    #expect(reception.isComplete == (present == 63))
  }

  @Test("R8: a packet of another message is refused and leaves no trace")
  func mismatch() throws {
    let others = [
      try packets(.request, 1, segment: Self.size, code: 0x7702)[1],
      try packets(.request, 1, segment: Self.size + 1)[1],
      try packets(.request, 1, segment: Self.size, from: group)[1],
    ]
    for other in others {
      var reception = PacketGroupReception(six[0].header)
      #expect(take(six[0], into: &reception))
      #expect(!take(other, into: &reception))
      #expect(reception.received == six[0].header.delivery)
    }
  }

  @Test("control flags and counts may differ between packets")
  func sameGroup() throws {
    let again = try packets(
      .request, 1, segment: Self.size, control: .acknowledge, retransmitCount: 3)
    var reception = PacketGroupReception(six[0].header)
    for (index, packet) in six.enumerated() {
      #expect(take(index % 2 == 0 ? packet : again[index], into: &reception))
    }
    #expect(reception.message() == message(segment: Self.size))
  }

  @Test("a message without a segment is whole with its header")
  func noSegment() throws {
    let packet = try packets(.request, 1)[0]
    let reception = PacketGroupReception(packet.header)
    #expect(reception.isComplete && !reception.hasHole)
    #expect(reception.message() == message())
  }

  @Test(
    "F6: data come out as they went in", arguments: [0, 1, 511, 512, 513, 1024, 16_383, 16_384])
  func data(size: Int) throws {
    let packets = try packets(.request, 1, segment: size)
    var reception = PacketGroupReception(packets[0].header)
    for packet in packets.reversed() { #expect(take(packet, into: &reception)) }
    #expect(reception.message() == message(segment: size))
  }

  @Test("B3: packets of 1, 2, 17 or 32 blocks, or of all these, make the same message")
  func packetSizes() {
    let segment = pattern(16_384)
    var mcb = MessageControlBlock(code: 0x7701)
    mcb.setSegmentSize(segment.count)
    for sizes in [[1], [2], [17], [32], [1, 17, 2, 3, 9]] {
      var header = PacketHeader(
        function: .request, client: client, transaction: TransactionID(1), server: server, mcb: mcb)
      var reception = PacketGroupReception(header)
      var (first, count) = (0, 0)
      while first < 32 {
        let blocks = min(sizes[count % sizes.count], 32 - first)
        let octets = (first * 512)..<((first + blocks) * 512)
        header.delivery = DeliveryMask(rawValue: UInt32(((1 << blocks) - 1) << first))
        let packet = [UInt8](repeating: 0, count: PacketHeader.byteCount) + segment[octets]
        #expect(!reception.isComplete)
        let isTaken = reception.accept(header, packet.span.bytes)
        #expect(isTaken)
        (first, count) = (first + blocks, count + 1)
      }
      #expect(reception.message().segment == segment, "\(sizes)")
    }
  }
}
