import Fixtures
import Testing
import VProtocol

@Suite("Packet header")
struct PacketHeaderTests {
  private let plain = PacketHeader(
    function: .request, client: EntityID(kernel: KernelID(3), discriminator: 16),
    transaction: TransactionID(7), server: EntityID(kernel: KernelID(5), discriminator: 17),
    mcb: MessageControlBlock(code: 0x00_1101))

  @Test("every truncation of a packet is refused", arguments: Fixture.clear)
  func truncations(fixture: Fixture) {
    for count in 0..<fixture.body.count {
      let found = refusal(of: Array(fixture.body.prefix(count)))
      let expected: WireError =
        count < 64 ? .truncated(needed: 64, found: count) : .badLength
      #expect(found == expected, "\(count) octets")
    }
    #expect(refusal(of: fixture.body) == nil)
  }

  @Test("octets behind the packet's own are refused", arguments: Fixture.clear)
  func longer(fixture: Fixture) {
    for count in 1...16 {
      let bytes = fixture.body + [UInt8](repeating: 0, count: count)
      #expect(refusal(of: bytes) == .badLength)
    }
  }

  @Test("a size that the buffer does not have is refused")
  func beyondBuffer() {
    let bytes = emit(plain)
    #expect(throws: WireError.truncated(needed: 64, found: 64)) {
      try PacketHeader(parsing: bytes.span.bytes, bodyBytes: 72)
    }
  }

  @Test("every packet flag comes back alone", arguments: 0..<8)
  func packetFlags(bits: UInt8) throws {
    var header = plain
    header.packetFlags = PacketFlags(rawValue: bits)
    let bytes = emit(header)
    #expect(try parse(bytes) == header)
    #expect(bytes[10] == bits << 5)
  }

  @Test("every combination of control flags comes back, in the top of word 3")
  func controlFlags() throws {
    for bits: UInt16 in 0..<512 {
      var header = plain
      header.control = ControlFlags(rawValue: bits)
      let bytes = emit(header)
      #expect(try parse(bytes) == header)
      #expect(UInt16(bytes[12]) << 8 | UInt16(bytes[13]) == bits << 7)
    }
  }

  @Test("every code flag but SDA comes back", arguments: 0...UInt8.max)
  func codeFlags(bits: UInt8) throws {
    var header = plain
    header.mcb.flags = CodeFlags(rawValue: bits & 0xEF)
    let bytes = emit(header)
    #expect(try parse(bytes) == header)
    #expect(bytes[32] == bits & 0xEF)
    #expect(header.mcb.code == 0x00_1101)
  }

  @Test("the flags are where RFC 1045 has them")
  func flagValues() {
    #expect(PacketFlags.headerChecksumOnly.rawValue == 4)
    #expect(PacketFlags.encrypted.rawValue == 2)
    #expect(PacketFlags.multicast.rawValue == 1)
    let control: [ControlFlags] = [
      .nextReceiveSequence, .acknowledge, .notStartOfRun, .notEndOfRun, .noRetransmission,
      .memberOfGroup, .continued, .skipIDs, .delayResponse,
    ]
    for (bit, flag) in control.enumerated() { #expect(flag.rawValue == 0x100 >> bit) }
    let code: [(CodeFlags, UInt8)] = [
      (.conditional, 0x80), (.datagram, 0x40), (.idempotent, 0x40), (.deliveryMask, 0x20),
      (.segmentAppended, 0x10), (.coResident, 0x04), (.multipleResponses, 0x02),
      (.publicInterface, 0x01),
    ]
    for (flag, value) in code { #expect(flag.rawValue == value) }
  }

  @Test("the small counts keep their bits apart")
  func counts() throws {
    for value: UInt8 in 0...255 {
      var header = plain
      header.retransmitCount = value & 7
      header.forwardCount = value & 15
      header.gap = value
      header.priority = Priority(bits: value >> 4)
      header.function = value & 1 == 0 ? .request : .response
      #expect(try parse(emit(header)) == header)
    }
  }

  @Test("the three reserved bits of word 3 are ignored")
  func reservedBits() throws {
    var bytes = emit(plain)
    bytes[15] |= 0x0E
    #expect(try parse(bytes) == plain)
  }

  @Test("F8: only this protocol's version is accepted", arguments: 0..<8)
  func version(number: UInt8) {
    var bytes = emit(plain)
    bytes[8] = bytes[8] & 0x1F | number << 5
    #expect(refusal(of: bytes) == (number == PacketHeader.version ? nil : .badVersion(number)))
  }

  @Test("F8: only domains 1 and 0x1045 are ours")
  func domains() throws {
    for domain: UInt16 in 0..<0x2000 {
      var header = plain
      header.domain = domain
      let isOurs = domain == 1 || domain == 0x1045
      #expect(refusal(of: emit(header)) == (isOurs ? nil : .badDomain(domain)))
    }
    #expect(PacketHeader.clusterDomain == 0x1045)
  }

  @Test("the entity identifier 0 is refused")
  func noEntity() {
    var header = plain
    header.client = .none
    #expect(refusal(of: emit(header)) == .invalidEntity)
    header = plain
    header.server = .none
    #expect(refusal(of: emit(header)) == .invalidEntity)
  }

  // MARK: rule 4: the size

  @Test("F4: an odd Length is refused whatever the packet's size is", arguments: [1, 3, 4095])
  func oddLength(words: UInt32) {
    var bytes = emit(plain) + [UInt8](repeating: 0, count: Int(words) * 4)
    store(0x5045_0000 | words, at: 8, in: &bytes)
    #expect(refusal(of: bytes) == .badLength)
  }

  @Test("F4: a Length beyond 4,096 is refused", arguments: [4098, 8190])
  func longLength(words: UInt32) {
    var bytes = emit(plain) + [UInt8](repeating: 0, count: Int(words) * 4)
    store(0x5045_0000 | words, at: 8, in: &bytes)
    #expect(refusal(of: bytes) == .badLength)
  }

  @Test("F4: a Length that does not match the packet is refused")
  func lengthMismatch() {
    for words: UInt32 in stride(from: 2, through: 4096, by: 2) {
      var bytes = emit(plain)
      store(0x5045_0000 | words, at: 8, in: &bytes)
      #expect(refusal(of: bytes) == .badLength)
    }
  }

  @Test("a SegmentSize beyond 16,384 is refused", arguments: [16_385, 4_194_304, .max])
  func longSegment(size: UInt32) {
    var header = plain
    header.mcb.flags = .segmentAppended
    header.mcb[7] = size
    #expect(refusal(of: emit(header)) == .badLength)
  }

  // MARK: rule 5: the blocks

  @Test("F4: a block beyond the segment is refused", arguments: [0, 1, 512, 513, 15_872, 15_873])
  func blocksBeyond(size: Int) throws {
    for block in 0..<32 {
      var header = plain
      header.mcb.setSegmentSize(size)
      header.delivery = DeliveryMask(rawValue: 1 << UInt32(block))
      let octets = header.delivery.octets(segmentBytes: size)
      header.dataWords = (octets + 7) / 8 * 2
      let bytes = emit(header, data: [UInt8](repeating: 1, count: header.dataBytes))
      #expect(refusal(of: bytes) == (block * 512 < size ? nil : .badDelivery))
    }
  }

  @Test("F4: blocks and Length must agree", arguments: 0..<8)
  func blocksAndLength(mask: UInt32) {
    let size = 1030
    for words in stride(from: 0, through: 264, by: 2) {
      var header = plain
      header.mcb.setSegmentSize(size)
      header.delivery = DeliveryMask(rawValue: mask)
      header.dataWords = words
      let wanted = ([512, 512, 6].enumerated().map { mask >> $0.0 & 1 == 1 ? $0.1 : 0 })
        .reduce(0, +)
      let bytes = emit(header, data: [UInt8](repeating: 1, count: words * 4))
      #expect(refusal(of: bytes) == ((wanted + 7) / 8 * 2 == words ? nil : .badDelivery))
    }
  }

  @Test("F4: without SDA there are neither data nor blocks")
  func dataWithoutSegment() {
    var header = plain
    header.mcb[7] = 8
    header.dataWords = 2
    #expect(refusal(of: emit(header, data: [UInt8](repeating: 1, count: 8))) == .badDelivery)
    header.delivery = DeliveryMask(rawValue: 1)
    #expect(refusal(of: emit(header, data: [UInt8](repeating: 1, count: 8))) == .badDelivery)
    header.dataWords = 0
    #expect(refusal(of: emit(header)) == .badDelivery)
    header.delivery = []
    #expect(refusal(of: emit(header)) == nil)
  }

  @Test("a whole segment of every size at a boundary is accepted, and its padding is counted")
  func wholeSegments() throws {
    for size in [0, 1, 7, 8, 9, 511, 512, 513, 1024, 1025, 15_873, 16_383, 16_384] {
      var header = plain
      header.mcb.setSegmentSize(size)
      header.delivery = DeliveryMask(segmentBytes: size)
      header.dataWords = (size + 7) / 8 * 2
      let bytes = emit(header, data: [UInt8](repeating: 1, count: header.dataBytes))
      #expect(try parse(bytes) == header, "\(size)")
    }
  }
}
