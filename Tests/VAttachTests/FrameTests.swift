import Testing
import VAttach
import VProtocol
import VRuntime

@Suite("Attach frame")
struct FrameTests {
  static let client = EntityID(kernel: KernelID(0x0A4D_0001), discriminator: 17)
  static let server = EntityID(kernel: KernelID(0x0A4D_0002), discriminator: 18)
  static let group = EntityID.nameHandlingGroup

  static func message(_ segmentBytes: Int) -> Message {
    var mcb = MessageControlBlock(code: 0x001203)
    for word in 1..<7 { mcb[word] = UInt32(word) * 0x0102_0304 }
    return Message(mcb, segment: (0..<segmentBytes).map { UInt8(truncatingIfNeeded: $0) })
  }

  static let name = AttachFrame.RequestName(
    client: client, transaction: TransactionID(77), server: server, forwardCount: 3)

  /// Every kind, with every field that it has set.
  static let samples: [AttachFrame] = [
    .makeClient(token: 1, "ann"),
    .makeServer(token: 2, knowsPrincipals: true),
    .makeServer(token: 2, knowsPrincipals: false),
    .join(token: 3, server: server, group: group),
    .retire(client),
    .send(message(0), client: client, server: server, SendOptions()),
    .send(
      message(16_384), client: client, server: group,
      SendOptions(timeLimit: .milliseconds(200), collectsResponses: true, priority: .guest)),
    .datagram(message(16_384), client: client, server: group),
    .reply(message(5), to: name),
    .forward(message(7), name, to: client),
    .welcome(KernelID(0x0A4D_0001), Principal(user: "ann", host: "kea")),
    .made(token: 4, client),
    .refused(token: 5, .noPermission),
    .complete(client: client, Response(server: server, message: message(512))),
    .complete(client: client, Response(server: .none, message: Message(reply: .userTimeout))),
    .invoke(
      Request(
        client: client, transaction: TransactionID(9), addressee: group, server: server,
        forwardCount: 15, message: message(1), principal: Principal("root@moa", marks: .fullRoot),
        isLocal: true)),
    .invoke(
      Request(
        client: client, transaction: TransactionID(9), addressee: server, server: server,
        forwardCount: 0, message: message(0), principal: nil, isLocal: false,
        priority: .background)),
  ]

  static func emit(_ frame: AttachFrame) -> [UInt8] {
    var octets = [UInt8](repeating: 0xAA, count: frame.byteCount)
    var span = octets.mutableSpan
    var bytes = span.mutableBytes
    let size = frame.emit(into: &bytes)
    precondition(size == frame.byteCount)
    return octets
  }

  static func parse(_ octets: [UInt8]) -> Result<AttachFrame, WireError> {
    do throws(WireError) {
      return .success(try AttachFrame(parsing: octets.span.bytes))
    } catch {
      return .failure(error)
    }
  }

  @Test("parsing and emitting are inverse for every kind", arguments: samples.indices)
  func roundTrip(_ index: Int) throws {
    let octets = Self.emit(Self.samples[index])
    let parsed = try Self.parse(octets).get()
    #expect(Self.emit(parsed) == octets)
    #expect("\(parsed)" == "\(Self.samples[index])")
  }

  @Test("the layout is that of its page")
  func layout() {
    let frame = AttachFrame.reply(
      Message(MessageControlBlock(code: 0x80_0009), segment: [0xDE, 0xAD]), to: Self.name)
    let expected: [UInt8] =
      [3, 7, 0, 3, 0, 0, 0, 77]
      + [0, 0, 0, 18, 10, 77, 0, 2] + [0, 0, 0, 17, 10, 77, 0, 1]
      + [UInt8](repeating: 0, count: 24)
      + [0x10, 0x80, 0, 9] + [UInt8](repeating: 0, count: 24) + [0, 0, 0, 2]
      + [0xDE, 0xAD]
    #expect(Self.emit(frame) == expected)
  }

  @Test("a principal's marks are in the flags, and of a request whether it is local")
  func flags() {
    for (marks, octet) in [([], 0), (.mountMade, 1), (.fullRoot, 2), ([.mountMade, .fullRoot], 3)]
      as [(Principal.Marks, UInt8)]
    {
      let principal = Principal(user: "root", host: "kea", marks: marks)
      #expect(Self.emit(.welcome(KernelID(1), principal))[2] == octet)
      for isLocal in [true, false] {
        let request = Request(
          client: Self.client, transaction: TransactionID(9), addressee: Self.server,
          server: Self.server, forwardCount: 0, message: Self.message(0), principal: principal,
          isLocal: isLocal)
        #expect(Self.emit(.invoke(request))[2] == octet | (isLocal ? 128 : 0))
      }
    }
  }

  @Test("a frame that is cut anywhere, or has octets behind it, is refused")
  func truncation() throws {
    for sample in Self.samples {
      let octets = Self.emit(sample)
      for count in 0..<octets.count {
        #expect(throws: WireError.self) { try Self.parse(Array(octets[..<count])).get() }
      }
      #expect(throws: WireError.self) { try Self.parse(octets + [0]).get() }
    }
  }

  @Test("an accepted frame is emitted again octet for octet")
  func mutation() {
    var accepted = 0
    for sample in Self.samples where sample.byteCount < 1000 {
      let octets = Self.emit(sample)
      for index in octets.indices {
        for value: UInt8 in [0, 1, 2, 0x10, 0x40, 0x7F, 0x80, 0xFF] {
          var changed = octets
          changed[index] = value
          guard case .success(let frame) = Self.parse(changed) else { continue }
          accepted += 1
          #expect(Self.emit(frame) == changed)
        }
      }
    }
    #expect(accepted > 0)
  }

  @Test("reserved octets, unknown kinds and versions and impossible lengths are refused")
  func strictness() {
    let octets = Self.emit(.retire(Self.client))
    for (index, value) in [(0, 2), (0, 4), (1, 0), (1, 9), (1, 127), (1, 200), (2, 1), (47, 1)] {
      var changed = octets
      changed[index] = UInt8(value)
      guard case .failure = Self.parse(changed) else {
        Issue.record("octet \(index) = \(value) was accepted")
        continue
      }
    }
  }
}
