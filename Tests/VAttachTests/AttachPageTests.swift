import Fixtures
import Testing
import VAttach
import VNode
import VProtocol
import VRuntime

@Suite("Page of the node's socket", .timeLimit(.minutes(1)))
struct AttachPageTests {
  /// A field of the page's layout: its name and its octets.
  private struct Field {
    var name: String
    var octets: Range<Int>
  }

  private static func rows(_ heading: String, _ cells: ProtocolPage.Row) throws
    -> [ProtocolPage.Row]
  {
    let section = ProtocolPage.sections.first { $0.page == "Attach.md" && $0.heading == heading }
    return try #require(section?.rows(under: cells))
  }

  /// The fields in front of the segment.
  private static func fields() throws -> [Field] {
    var fields: [Field] = []
    for row in try rows("Frame", ["Offset", "Octets", "Field"]) {
      guard let count = Int(row[1]) else { continue }
      let offset = try #require(Int(row[0]), "\(row)")
      let name = String(row[2].prefix { $0 != ":" })
      fields.append(Field(name: name, octets: offset..<(offset + count)))
    }
    return fields
  }

  /// What a kind has in each field, by the name of the field.
  private struct Kind {
    var number: UInt8
    var name: String
    var sender: String
    var cells: [String: String]
  }

  private static func kinds() throws -> [Kind] {
    let columns = [
      "flags", "forward count", "number", "entity", "other", "addressee", "limit", "priority",
      "text", "message",
    ]
    return try rows("Kinds", ["Kind", "Name", "Sent by"] + columns).map { row in
      Kind(
        number: try #require(UInt8(row[0]), "\(row)"), name: row[1], sender: row[2],
        cells: Dictionary(uniqueKeysWithValues: zip(columns, row.dropFirst(3))))
    }
  }

  private static func samples() throws -> [[UInt8]] {
    let section = try #require(ProtocolPage.section("Frames in octets"))
    return try section.blocks.map { try #require(Fixture.octets(of: $0), "\($0)") }
  }

  private static let kea = KernelID(0xA1B2_C301)
  private static let moa = KernelID(0x0D0E_0F11)

  /// The frames that the page has in octets.
  private static let frames: [AttachFrame] = {
    let client = EntityID(kernel: kea, discriminator: 40)
    let server = EntityID(kernel: kea, discriminator: 41)
    let asker = EntityID(kernel: moa, discriminator: 16)
    var request = MessageControlBlock(code: 0x900001)
    request.flags = .publicInterface
    for word in 1...6 { request[word] = UInt32(word) }
    let hello = Message(request, segment: Array("hello".utf8))
    var spread = MessageControlBlock(code: 0x900002)
    spread.flags = .publicInterface
    let transaction = TransactionID(0x01A2_B3C4)
    let name = AttachFrame.RequestName(
      client: asker, transaction: transaction, server: server, forwardCount: 0)
    let found = FindNode.Answer(
      server: .nodeServer(of: moa), host: "moa", wallClock: 0x18EC_DE79_F2D0_3E8A)
    return [
      .welcome(kea, Principal(user: "ann", host: "kea")),
      .makeClient(token: 1, "ann"),
      .made(token: 1, client),
      .send(
        FindNode(host: "moa").message, client: client, server: .nodeGroup,
        SendOptions(timeLimit: .seconds(1))),
      .complete(
        client: client, Response(server: .nodeServer(of: moa), message: found.message)),
      .makeServer(token: 2, knowsPrincipals: true),
      .join(token: 3, server: server, group: .timeGroup),
      .refused(token: 3, .noPermission),
      .invoke(
        Request(
          client: asker, transaction: transaction, addressee: server, server: server,
          forwardCount: 0, message: hello, principal: Principal(user: "bob", host: "moa"),
          isLocal: false, priority: .normal.onOtherHost)),
      .reply(Message(MessageControlBlock(), segment: Array("hi".utf8)), to: name),
      .forward(hello, name, to: EntityID(kernel: kea, discriminator: 42)),
      .datagram(Message(spread), client: client, server: .nameHandlingGroup),
      .retire(client),
    ]
  }()

  @Test("the frames in octets are those of the codec, one of each kind")
  func octets() throws {
    let samples = try Self.samples()
    #expect(samples == Self.frames.map(FrameTests.emit))
    #expect(Set(samples.map { $0[1] }) == Set(try Self.kinds().map(\.number)))
  }

  @Test("the kinds are those of the codec, with their names, in order")
  func kinds() throws {
    let kinds = try Self.kinds()
    var found: [UInt8] = []
    for number in UInt8.min...UInt8.max {
      // One of the two has all that its kind needs.
      let bodies = [FrameTests.emit(.retire(.none)), FrameTests.emit(Self.frames[0])]
      let isKind = bodies.contains { body in
        var octets = body
        octets[1] = number
        guard case .success = FrameTests.parse(octets) else { return false }
        return true
      }
      if isKind { found.append(number) }
    }
    #expect(kinds.map(\.number) == found)
    for sample in try Self.samples() {
      let frame = "\(try FrameTests.parse(sample).get())"
      let kind = kinds.first { $0.number == sample[1] }
      #expect(frame.prefix { $0 != "(" } == kind?.name ?? "")
    }
  }

  @Test("the layout has no gaps, and a kind has just the fields that the page gives it")
  func fields() throws {
    let fields = try Self.fields()
    #expect(fields.first?.octets.lowerBound == 0)
    #expect(fields.last?.octets.upperBound == AttachFrame.headerBytes)
    for (field, next) in zip(fields, fields.dropFirst()) {
      #expect(field.octets.upperBound == next.octets.lowerBound, "\(next.name)")
    }
    let kinds = try Self.kinds()
    for sample in try Self.samples() {
      let kind = try #require(kinds.first { $0.number == sample[1] })
      for field in fields {
        guard let cell = kind.cells[field.name] else { continue }
        #expect(
          Self.isFree(field.octets, in: sample) == !cell.isEmpty, "\(kind.name): \(field.name)")
      }
      #expect(Self.hasText(sample) != kind.cells["text"]?.isEmpty, "\(kind.name): text")
    }
  }

  /// Whether a frame may have another value in one of these octets.
  private static func isFree(_ octets: Range<Int>, in sample: [UInt8]) -> Bool {
    octets.contains { index in
      (0..<8).contains { bit in
        var changed = sample
        changed[index] ^= 1 << bit
        guard case .success = FrameTests.parse(changed) else { return false }
        return true
      }
    }
  }

  /// Whether a frame of this kind may have a text.
  private static func hasText(_ sample: [UInt8]) -> Bool {
    if sample[41] > 0 { return true }
    var changed = sample + Array("a@b".utf8)
    changed[41] = 3
    guard case .success = FrameTests.parse(changed) else { return false }
    return true
  }

  @Test("a node takes the kinds that the page says a process sends, and no others")
  func senders() throws {
    let door = try Door(Cluster.shared.kea)
    let kinds = try Self.kinds()
    var bad = 0
    for sample in try Self.samples() {
      let process = try RawProcess(door.path)
      process.send(sample)
      process.send(.retire(.none))
      while process.receive() != nil {}
      if kinds.first(where: { $0.number == sample[1] })?.sender == "node" { bad += 1 }
    }
    #expect(eventually { door.server.processCount == 0 })
    #expect(door.server.endings == ["badFrame": bad, "foreignEntity": kinds.count - bad])
  }

  @Test("the bounds are those of a node")
  func bounds() throws {
    let limits = Mirror(reflecting: AttachLimits()).children.map { child in
      (name: child.label ?? "", value: "\(child.value)")
    }
    let rows = try Self.rows("Bounds", ["Bound", "Value", "Beyond it"])
    for row in rows {
      let name = try #require(ProtocolPage.properties(row[0]).first, "\(row)")
      #expect(limits.first { $0.name == name }?.value == row[1], "\(name)")
    }
    // How the node works; a process sees nothing of it.
    let inner: Set = [
      "octetsWorthTrimming", "frameOverhead", "sentFrames", "connectionsOfTurn", "framesOfTurn",
    ]
    #expect(rows.count + inner.count == limits.count)
    #expect(inner.isSubset(of: limits.map(\.name)))
    let page = ProtocolPage.sections.filter { $0.page == "Attach.md" }
    let text = page.map(\.text).joined(separator: " ")
    #expect(text.contains("whole, at most 16,719 octets") && AttachFrame.byteCountMax == 16_719)
    #expect(text.contains("the segment, 1 to 16,384,") && Message.segmentBytesMax == 16_384)
    #expect(text.contains("else `\(AttachFrame.socketPath)`"))
    #expect(AttachFrame.timeLimitMax == .seconds(366 * 86_400))
  }
}
