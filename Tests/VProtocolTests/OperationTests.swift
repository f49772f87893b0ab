import Testing
import VProtocol

@Suite("Operations")
struct OperationTests {
  @Test("an operation is parsed as it was emitted", arguments: Samples.operations)
  func operation(sample: Sample<any Operation>) throws { try expectRoundTrip(of: sample.value) }

  @Test("an answer is parsed as it was emitted", arguments: Samples.answers)
  func answer(sample: Sample<any OperationAnswer>) throws { try expectRoundTrip(of: sample.value) }

  @Test("every truncation of an operation's segment is refused", arguments: Samples.operations)
  func truncatedOperation(sample: Sample<any Operation>) {
    let parse = parser(of: sample.value)
    expectTruncations(of: sample.value.message, tail: sample.tail, parse)
  }

  @Test("every truncation of an answer's segment is refused", arguments: Samples.answers)
  func truncatedAnswer(sample: Sample<any OperationAnswer>) {
    let parse = parser(of: sample.value)
    expectTruncations(of: sample.value.message, tail: sample.tail, parse)
  }

  @Test("words of nothing but ones are parsed or refused, with and without a segment")
  func ones() {
    var mcb = MessageControlBlock()
    for word in 1..<8 { mcb[word] = .max }
    let segments: [[UInt8]] = [
      [], [UInt8](repeating: 0xFF, count: 16_384), [UInt8](repeating: 0, count: 16_384),
    ]
    for segment in segments {
      let message = Message(mcb, segment: segment)
      for sample in Samples.operations { _ = parser(of: sample.value)(message) }
      for sample in Samples.answers { _ = parser(of: sample.value)(message) }
    }
  }

  @Test("the codes are the published ones, each used once, with PIC set")
  func codes() {
    var operations: [UInt32: String] = [:]
    for sample in Samples.operations {
      let type = type(of: sample.value)
      let name = "\(type)"
      #expect(operations[type.code, default: name] == name)
      operations[type.code] = name
      #expect(sample.value.message.mcb.code == type.code)
      #expect(sample.value.message.mcb.flags.contains(.publicInterface))
    }
    #expect(
      operations == [
        0x1001: "QueryName", 0x1002: "QueryObject", 0x1003: "ModifyObject", 0x1004: "AddName",
        0x1005: "LinkName", 0x1006: "RemoveName", 0x1007: "RenameObject", 0x1008: "ReadLink",
        0x1009: "CheckAccess", 0x100A: "QueryStore", 0x100B: "ClaimName",
        0x100C: "SpreadClaims", 0x100D: "QueryAttribute", 0x100E: "ListAttributes",
        0x100F: "ChangeAttribute", 0x1010: "ForgetName", 0x1011: "SpreadDigest",
        0x1012: "QueryClaims",
        0x1101: "CreateInstance",
        0x1102: "QueryInstance", 0x1103: "ModifyInstance", 0x1104: "ReadInstance",
        0x1105: "WriteInstance", 0x1106: "ReleaseInstance", 0x1107: "SyncInstance",
        0x1108: "LockInstance", 0x1109: "QueryLock", 0x110A: "CancelWait", 0x110B: "ListInstances",
        0x110C: "ChangeOwner", 0x110D: "AwaitInstance",
        0x1201: "PingNode", 0x1202: "FindNode", 0x1203: "QueryNode", 0x1204: "MeasureSends",
        0x1205: "EchoSegment",
        0x1301: "GetTime", 0x1302: "DelayProcess", 0x1303: "WakeUp", 0x1401: "QueryProcess",
        0x1601: "GroupMessage", 0x1602: "QueryGroup", 0x1603: "ChangeGroup",
        0x1501: "SelectHost", 0x1502: "ControlTeam",
        0x0101: "ProbeEntity",
      ])
  }

  @Test("operations that look, lock, release, claim or write to the disk may be repeated")
  func idempotence() {
    let repeatable = Set(
      Samples.operations.filter { type(of: $0.value).isIdempotent }.map {
        "\(type(of: $0.value))"
      })
    #expect(
      repeatable == [
        "QueryName", "QueryObject", "ReadLink", "CheckAccess", "QueryStore", "QueryInstance",
        "ReadInstance", "ReleaseInstance", "SyncInstance", "ChangeOwner", "ProbeEntity",
        "ClaimName", "ForgetName", "AwaitInstance",
        "SpreadClaims", "SpreadDigest", "QueryClaims", "PingNode", "FindNode", "QueryNode",
        "EchoSegment", "LockInstance",
        "QueryLock", "CancelWait", "ListInstances", "QueryAttribute", "ListAttributes", "GetTime",
        "QueryProcess", "QueryGroup", "SelectHost",
      ])
  }

  @Test("a message without a segment has no SDA")
  func segmentFlag() {
    var mcb = MessageControlBlock(code: 1)
    mcb.flags = [.segmentAppended, .publicInterface]
    mcb[7] = 99
    #expect(Message(mcb).mcb.flags == .publicInterface)
    #expect(Message(mcb).mcb.segmentSize == 0)
    let message = Message(mcb, segment: [1, 2, 3])
    #expect(message.mcb.segmentSize == 3)
    #expect(message.mcb.flags == [.segmentAppended, .publicInterface])
  }

  // MARK: what one operation refuses

  @Test("a name may not begin behind its end, nor be longer than 4,096 octets")
  func nameFields() {
    let segment = [UInt8](repeating: 0x61, count: 5000)
    for (index, length, isSound) in [
      (0, 0, true), (3, 3, true), (4, 3, false), (0xFFFF, 0, false), (0, 4096, true),
      (4096, 4096, true), (0, 4097, false), (0, 0xFFFF, false),
    ] as [(UInt32, UInt32, Bool)] {
      var mcb = MessageControlBlock()
      mcb[3] = index << 16 | length
      let message = Message(mcb, segment: segment)
      let isParsed = (try? ContextName(parsing: message)) != nil
      #expect(isParsed == isSound, "\(index), \(length)")
    }
  }

  @Test("the rest of a name starts at its index, behind a slash there unless that is in front")
  func rest() {
    for (octets, index, expected) in [
      ("desk/fs", 5, "fs"), ("desk/fs", 4, "fs"), ("desk//fs", 4, "/fs"), ("/fs", 0, "/fs"),
      ("desk/", 4, ""), ("desk", 4, ""), ("", 0, ""),
    ] {
      let name = ContextName(.none, Array(octets.utf8), index: index)
      #expect(Array(name.rest) == Array(expected.utf8), "\(octets), \(index)")
    }
  }

  @Test("rights that there are not are refused", arguments: [8, 15, .max])
  func unknownRights(mask: UInt32) {
    let message = CheckAccess(ContextName(.none), mask: mask).message
    #expect(throws: WireError.badField(.operation)) { try CheckAccess(parsing: message) }
  }

  @Test("a second name or a target beyond 4,096 octets is refused")
  func longSecond() {
    let name = ContextName(.none, Array("a".utf8))
    let long = [UInt8](repeating: 0x61, count: 4097)
    let link = AddName(name, kind: .symbolicLink, permissions: 0, target: long)
    #expect(throws: WireError.badField(.name)) { try AddName(parsing: link.message) }
    let rename = RenameObject(name, to: .none, long, mode: .replace)
    #expect(throws: WireError.badField(.name)) { try RenameObject(parsing: rename.message) }
  }

  @Test("unknown modes of renaming are refused", arguments: [3, 4, .max])
  func renameMode(mode: UInt32) {
    var message = RenameObject(ContextName(.none), to: .none, [], mode: .replace).message
    message.mcb[4] = mode
    #expect(throws: WireError.badField(.operation)) { try RenameObject(parsing: message) }
  }

  @Test("a prefix is a context, and no longer than a name")
  func prefix() {
    let answer = QueryName.Answer(
      manager: Samples.entity, context: .none, prefixBytes: 4096, kind: .context)
    for kind: UInt32 in 0...20 {
      var message = answer.message
      message.mcb[5] = kind
      let isParsed = (try? QueryName.Answer(parsing: message)) != nil
      #expect(isParsed == [2, 16].contains(kind))
    }
    var message = answer.message
    message.mcb[5] = 4097 << 16 | message.mcb[5]
    #expect(throws: WireError.badField(.name)) { try QueryName.Answer(parsing: message) }
  }

  @Test("a message to a group has at most 700 octets, and a change is one of three")
  func groups() {
    let long = String(repeating: "t", count: GroupMessage.textBytesMax + 1)
    let message = GroupMessage(sender: "ann@kea", text: long).message
    #expect(throws: WireError.badField(.operation)) { try GroupMessage(parsing: message) }
    for change: UInt32 in [0, 4, .max] {
      var message = ChangeGroup(.join, "jobs", host: "kea").message
      message.mcb[1] = change
      #expect(throws: WireError.badField(.operation)) { try ChangeGroup(parsing: message) }
    }
  }

  @Test("a probe names an entity, and a principal has at most 255 octets of UTF-8")
  func probe() {
    var message = ProbeEntity(Samples.entity).message
    message.mcb.setPair(3, 0)
    #expect(throws: WireError.invalidEntity) { try ProbeEntity(parsing: message) }
    let segments: [([UInt8], WireError)] = [
      ([UInt8](repeating: 0x61, count: 256), .badField(.name)), ([0xC3], .badField(.utf8)),
      ([0xC0, 0x80], .badField(.utf8)), ([0xED, 0xA0, 0x80], .badField(.utf8)),
    ]
    for (segment, error) in segments {
      #expect(throws: error) {
        try ProbeEntity.EntityState(parsing: Message(MessageControlBlock(), segment: segment))
      }
    }
  }

  @Test("notifications come back with every field at its largest and its least")
  func notifications() {
    let codes: [ReplyCode] = [.ok, .retry, ReplyCode(rawValue: .max)]
    for code in codes {
      for (count, forwards) in [(0, 0), (7, 15), (7, 0), (0, 15)] as [(UInt8, UInt8)] {
        let notify = NotifyClient(
          client: Samples.all, transaction: TransactionID(.max),
          delivery: DeliveryMask(rawValue: .max), code: code, retransmitCount: count,
          forwardCount: forwards)
        #expect(NotifyClient(parsing: notify.mcb) == notify)
        // Word 3 is what word 3 of the response would have been.
        #expect(notify.mcb[3] & 1 == 1)
      }
      let notify = NotifyServer(
        server: Samples.all, client: Samples.entity, transaction: TransactionID(0),
        delivery: [], code: code)
      #expect(NotifyServer(parsing: notify.mcb) == notify)
    }
    #expect(Management.notifyClient == 0x10F)
    #expect(Management.notifyServer == 0x110)
    #expect(Management.notifyRemoteClient == 0x111)
    #expect(Management.beginTransaction == 0x120)
    #expect(Management.queryOutcome == 0x121)
  }

  // MARK: shared

  private func expectRoundTrip(of value: some Operation) throws {
    #expect(try type(of: value).init(parsing: value.message) == value)
  }

  private func expectRoundTrip(of value: some OperationAnswer) throws {
    #expect(try type(of: value).init(parsing: value.message) == value)
  }

  private func parser<Value: Operation>(of value: Value) -> (Message) -> Bool {
    { (try? Value(parsing: $0)) != nil }
  }

  private func parser<Value: OperationAnswer>(of value: Value) -> (Message) -> Bool {
    { (try? Value(parsing: $0)) != nil }
  }

  private func expectTruncations(
    of message: Message, tail: Int, _ parse: (Message) -> Bool
  ) {
    let needed = message.segment.count - tail
    var wrong: [Int] = []
    for count in 0..<message.segment.count {
      let shorter = Message(message.mcb, segment: Array(message.segment.prefix(count)))
      if parse(shorter) != (count >= needed) { wrong.append(count) }
    }
    #expect(wrong.isEmpty)
  }
}
