import Fixtures
import Testing
import VProtocol

@Suite("Golden packets")
struct GoldenPacketTests {
  @Test("F1: a header is emitted exactly as it was read", arguments: Fixture.clear)
  func bitExact(fixture: Fixture) throws {
    let header = try parse(fixture.body)
    let data = Array(fixture.body.dropFirst(PacketHeader.byteCount))
    #expect(emit(header, data: data) == fixture.body)
    #expect(header.dataBytes == data.count)
  }

  @Test("F1: the checksum is the one in the packet", arguments: Fixture.clear)
  func checksums(fixture: Fixture) throws {
    let sent = Array(fixture.bytes.suffix(Checksum.byteCount))
    let isHeaderOnly = try parse(fixture.body).packetFlags.contains(.headerChecksumOnly)
    let covered = isHeaderOnly ? Array(fixture.body.prefix(64)) : fixture.body
    #expect(isSound(fixture.bytes))
    if sent != [0, 0, 0, 0] { #expect(bigEndian(checksum(covered)) == sent) }
  }

  @Test("V1 is a request without a segment")
  func request() throws {
    let header = try parse(Fixture.named("v1").body)
    var expected = PacketHeader(
      function: .request, client: try #require(EntityID("BE-25593-36.8.0.49")),
      transaction: TransactionID(0x2E), server: try #require(EntityID("BE-7-10.0.0.2")),
      mcb: MessageControlBlock(code: 0x0080_0001))
    expected.domain = 1
    #expect(header == expected)
  }

  @Test("V2 answers V1 and may be repeated")
  func response() throws {
    let (request, response) = (
      try parse(Fixture.named("v1").body), try parse(Fixture.named("v2").body)
    )
    #expect(response.function == .response)
    #expect(response.client == request.client)
    #expect(response.server == request.server)
    #expect(response.transaction == request.transaction)
    #expect(response.mcb.flags == .idempotent)
    #expect(response.mcb.code == 0)
  }

  @Test("V3 has a segment, user data and every small control field")
  func segment() throws {
    let body = Fixture.named("v3").body
    let header = try parse(body)
    #expect(header.control == .acknowledge)
    #expect(header.retransmitCount == 1)
    #expect(header.forwardCount == 0)
    #expect(header.gap == 16)
    #expect(header.priority == .urgent)
    #expect(header.dataWords == 2)
    #expect(header.delivery == DeliveryMask(rawValue: 1))
    #expect(header.mcb.flags == .segmentAppended)
    #expect(header.mcb.code == 0x80_0002)
    #expect(header.mcb.pair(3) == 0x0102_0304_0506_0708)
    #expect(header.mcb[5] == 0x090A_0B0C)
    #expect(try message(body).segment == Array("hello".utf8))
  }

  @Test("V4 tells a client's kernel which blocks have arrived")
  func notifyClient() throws {
    let header = try parse(Fixture.named("v4").body)
    #expect(header.server == .managerGroup)
    #expect(header.mcb.flags == [.datagram, .coResident, .publicInterface])
    #expect(header.mcb.code == Management.notifyClient)
    let notify = NotifyClient(parsing: header.mcb)
    #expect(
      notify
        == NotifyClient(
          client: try #require(EntityID("BE-25593-36.8.0.49")), transaction: TransactionID(0x2F),
          delivery: DeliveryMask(rawValue: 5), code: .retry, retransmitCount: 1))
    #expect(notify.mcb == header.mcb)
  }

  @Test("V5 asks all managers for an entity")
  func probe() throws {
    let header = try parse(Fixture.named("v5").body)
    #expect(header.packetFlags == .multicast)
    #expect(header.domain == 1)
    let probe = try ProbeEntity(parsing: Message(header.mcb))
    #expect(probe.process == EntityID("BE-7-10.0.0.2"))
    var expected = probe.message.mcb
    // Our packets leave out the authentication domain.
    expected[5] = 1
    #expect(header.mcb == expected)
  }

  @Test("every bit of the header has its place")
  func everyBit() throws {
    let header = try parse(Fixture.named("c09").body)
    #expect(header.packetFlags.rawValue == 7)
    #expect(header.control.rawValue == 0x1FF)
    #expect(header.retransmitCount == 7)
    #expect(header.forwardCount == 15)
    #expect(header.gap == 255)
    #expect(header.priority == Priority(bits: 15))
    #expect(header.function == .response)
    #expect(header.transaction == TransactionID(.max))
    #expect(header.client.rawValue == .max)
    #expect(header.server.rawValue == .max)
    #expect(header.mcb.flags.rawValue == 0xEF)
  }

  @Test("a packet may hold blocks that are not neighbours")
  func blocksApart() throws {
    let body = Fixture.named("c08").body
    let header = try parse(body)
    #expect(header.delivery == DeliveryMask(rawValue: 5))
    #expect(header.mcb.segmentSize == 1027)
    #expect(header.dataBytes == 520)
    #expect(header.delivery.octets(segmentBytes: 1027) == 515)
  }

  @Test("a sealed packet shows its first 12 octets and its trailer", arguments: Fixture.sealed)
  func trailer(fixture: Fixture) throws {
    let (isSealed, isMulticast, trailer) = try look(at: fixture.bytes)
    #expect(isSealed)
    #expect(isMulticast == (fixture.name == "s3-sealed-announce"))
    let expected: [String: (UInt32, UInt64)] = [
      "s1-sealed-probe": (0xA1B2_C301, 7),
      "s2-sealed-answer": (0x0D0E_0F11, 1_700_000_000_000_000_001),
      "s3-sealed-announce": (0xA1B2_C301, .max),
      "s4-sealed-segment": (0xA1B2_C301, 8),
    ]
    let (sender, number) = try #require(expected[fixture.name])
    #expect(trailer == SealedPacket.Trailer(sender: KernelID(sender), number: number))
    #expect(octets(of: trailer) == Array(fixture.bytes.suffix(28).prefix(12)))
  }

  @Test("a clear packet does not look sealed")
  func clear() throws {
    #expect(try look(at: Fixture.named("c16").bytes + [UInt8](repeating: 0, count: 24)).0 == false)
  }

  @Test("a sealed packet shorter than 92 octets is refused", arguments: 0..<92)
  func truncatedTrailer(count: Int) {
    let bytes = Array(Fixture.named("s1").bytes.prefix(count))
    #expect(throws: WireError.truncated(needed: 92, found: count)) { try look(at: bytes) }
  }

  private func look(at bytes: [UInt8]) throws -> (Bool, Bool, SealedPacket.Trailer) {
    let span = bytes.span.bytes
    return (
      SealedPacket.isSealed(span), SealedPacket.isMulticast(span),
      try SealedPacket.Trailer(parsing: span)
    )
  }

  private func octets(of trailer: SealedPacket.Trailer) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 12)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    trailer.emit(into: &raw, at: 0)
    return bytes
  }
}
