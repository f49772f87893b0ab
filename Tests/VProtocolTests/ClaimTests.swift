import Testing
import VProtocol

@Suite("Claims")
struct ClaimTests {
  private func claim(_ prefix: String, host: String = "kea") -> Claim {
    Claim(
      prefix: Array(prefix.utf8), manager: Samples.entity, context: ContextID(rawValue: .max),
      host: host, clock: .max, state: .withdrawn)
  }

  private func claims(_ count: Int) -> [Claim] {
    (0..<count).map { claim(String(repeating: "p", count: 1 + $0 * 37 % 255)) }
  }

  @Test("claims come back, up to the largest", arguments: [0, 1, 2, 40, 128])
  func roundTrip(count: Int) throws {
    let claims = (0..<count).map { claim("desk/fs/\($0)", host: "h") }
    for wantsAnswer in [true, false] {
      let spread = SpreadClaims(claims, wantsAnswer: wantsAnswer)
      #expect(try SpreadClaims(parsing: spread.message) == spread)
    }
    let largest = claim(
      String(repeating: "p", count: 255), host: String(repeating: "h", count: 64))
    #expect(largest.byteCount == 32 + 255 + 64)
    #expect(try parse([largest]) == [largest])
  }

  @Test("a truncated list is refused, but between two claims")
  func truncations() {
    let list = [claim("a"), claim("b/c"), claim("d")]
    let message = SpreadClaims(list, wantsAnswer: false).message
    let sizes = list.map(\.byteCount)
    let ends = [0, sizes[0], sizes[0] + sizes[1]]
    for count in 0..<message.segment.count {
      let shorter = Message(message.mcb, segment: Array(message.segment.prefix(count)))
      let parsed = try? SpreadClaims(parsing: shorter)
      #expect(parsed?.claims.count == ends.firstIndex(of: count), "\(count) octets")
    }
  }

  @Test("a message has room for fewer claims than a table, even for the smallest")
  func most() throws {
    let smallest = claim("a", host: "h")
    #expect(smallest.byteCount == 34)
    let count = Message.segmentBytesMax / smallest.byteCount
    #expect(count == 481 && count < Claim.claimsMax)
    #expect(try parse([Claim](repeating: smallest, count: count)).count == count)
    // The rest of the segment is not a claim.
    let rest = [UInt8](repeating: 0, count: Message.segmentBytesMax - count * smallest.byteCount)
    let segment =
      SpreadClaims([Claim](repeating: smallest, count: count), wantsAnswer: false).message.segment
      + rest
    #expect(throws: WireError.self) {
      try SpreadClaims(parsing: Message(MessageControlBlock(), segment: segment))
    }
  }

  @Test("a record may be longer than its fields, and not shorter")
  func recordLength() throws {
    let bytes = SpreadClaims([claim("a")], wantsAnswer: false).message.segment
    for length in 0...(bytes.count + 20) {
      var record = bytes + [UInt8](repeating: 9, count: max(0, length - bytes.count))
      record.replaceSubrange(0..<2, with: [UInt8(length >> 8), UInt8(length & 255)])
      let message = Message(MessageControlBlock(), segment: record)
      let parsed = try? SpreadClaims(parsing: message).claims
      #expect(parsed == (length >= bytes.count ? [claim("a")] : nil), "\(length)")
    }
  }

  @Test("a claim without a state, a valid manager, a host or a prefix is refused")
  func badFields() {
    let sound = SpreadClaims([claim("ab")], wantsAnswer: false).message.segment
    let broken: [[UInt8]] = [
      replacing(2..<4, with: [0, 0], in: sound), replacing(2..<4, with: [0, 5], in: sound),
      replacing(12..<20, with: [UInt8](repeating: 0, count: 8), in: sound),
      replacing(12..<13, with: [0x40], in: sound),
      replacing(30..<31, with: [0x2E], in: sound), replacing(30..<31, with: [0], in: sound),
      replacing(30..<31, with: [0x2F], in: sound), replacing(31..<32, with: [0x2F], in: sound),
    ]
    for segment in broken {
      #expect(throws: WireError.badField(.claim)) {
        try SpreadClaims(parsing: Message(MessageControlBlock(), segment: segment))
      }
    }
    for host in ["", "k\u{E9}a", "k a", "kea\n"] {
      #expect(throws: WireError.badField(.claim)) { try parse([claim("a", host: host)]) }
    }
    #expect(throws: WireError.badField(.claim)) {
      try parse([claim("a", host: String(repeating: "h", count: 65))])
    }
  }

  @Test(
    "which names may be prefixes",
    arguments: [
      ("a", true), ("a/b", true), ("a.b/c..", true), ("", false), ("/", false), ("/a", false),
      ("a/", false), ("a//b", false), (".a", false), ("a/.b", false), ("a/..", false),
      ("a\0", false),
    ])
  func prefixes(name: String, isPrefix: Bool) {
    #expect(Claim.isPrefix(Array(name.utf8)) == isPrefix)
    let operation = ClaimName(
      prefix: Array(name.utf8), context: .none, manager: Samples.entity)
    #expect(((try? ClaimName(parsing: operation.message)) == operation) == isPrefix)
  }

  @Test("a prefix has at most 255 octets")
  func longPrefix() {
    #expect(Claim.isPrefix([UInt8](repeating: 0x61, count: 255)))
    #expect(!Claim.isPrefix([UInt8](repeating: 0x61, count: 256)))
  }

  @Test("a table is cut into messages of one packet each, in order", arguments: 0...128)
  func cut(count: Int) {
    let claims = claims(count)
    let messages = SpreadClaims.messages(claims)
    #expect(messages.isEmpty == claims.isEmpty)
    #expect(messages.flatMap(\.claims) == claims)
    #expect(messages.allSatisfy { $0.message.segment.count <= 1024 && !$0.wantsAnswer })
    #expect(messages.allSatisfy { !$0.claims.isEmpty })
    var rest = claims[...]
    let first = SpreadDigest.filled(Samples.entity, ClaimDigest(), from: &rest)
    #expect(first.claims + Array(rest) == claims && first.message.segment.count <= 1024)
    #expect(count == 0 || !first.claims.isEmpty)
  }

  @Test("tables with the same claims have equal digests, whatever the order and the past")
  func digests() {
    let many = claims(500)
    var (one, other) = (ClaimDigest(), ClaimDigest())
    for claim in many { one.add(claim) }
    for claim in many.reversed() + [claim("gone")] { other.add(claim) }
    let bit = UInt64(1) << UInt64(claim("gone").bucket)
    #expect(one.buckets(missing: other) == bit && other.buckets(missing: one) == bit)
    other.remove(claim("gone"))
    #expect(one == other && one.buckets(missing: other) == 0)
    // One octet of one claim.
    for change in [
      { $0.clock -= 1 }, { $0.state = .present }, { $0.host = "kez" }, { $0.context = .none },
    ] as [(inout Claim) -> Void] {
      var changed = many[7]
      change(&changed)
      other.remove(many[7])
      other.add(changed)
      #expect(one.buckets(missing: other) == 1 << UInt64(changed.bucket))
      other.remove(changed)
      other.add(many[7])
    }
    // Nothing lacks where the other has nothing.
    #expect(one.buckets(missing: ClaimDigest()) == 0)
    #expect(ClaimDigest().buckets(missing: one).nonzeroBitCount > 40)
  }

  @Test("the hash of a claim and its bucket are those of the page")
  func hash() {
    let claim = Claim(
      prefix: Array("storage/kea".utf8), manager: EntityID(rawValue: 0x1122_3344_5566_7788),
      context: ContextID(rawValue: 0x99), host: "kea", clock: 0x1234_5678, state: .present)
    #expect(claim.hash == 0x7DCB_96F4_C704_565B)
    #expect(claim.bucket == 18)
  }

  private func parse(_ claims: [Claim]) throws -> [Claim] {
    try SpreadClaims(parsing: SpreadClaims(claims, wantsAnswer: false).message).claims
  }

  private func replacing(
    _ range: Range<Int>, with octets: [UInt8], in bytes: [UInt8]
  ) -> [UInt8] {
    var bytes = bytes
    bytes.replaceSubrange(range, with: octets)
    return bytes
  }
}

@Suite("Node operations")
struct NodeOperationTests {
  @Test("a measurement reports least, median, 99th percentile and most")
  func measurement() {
    var samples = (1...1000).map { UInt32($0) }.reversed() as [UInt32]
    let answer = MeasureSends.Answer(samples: &samples, lost: 3, code: .ok)
    #expect(answer.count == 1003)
    #expect(answer.lost == 3)
    #expect(
      [answer.minimum, answer.median, answer.percentile99, answer.maximum] == [1, 500, 990, 1000])
    for count in 1...10 {
      var few = [UInt32](repeating: 7, count: count)
      #expect(MeasureSends.Answer(samples: &few, lost: 0, code: .ok).percentile99 == 7)
    }
    var none: [UInt32] = []
    let nothing = MeasureSends.Answer(samples: &none, lost: 9, code: .userTimeout)
    #expect(nothing.maximum == 0 && nothing.count == 9)
  }

  @Test("impossible measurements are refused")
  func badMeasurement() {
    let sound = MeasureSends(target: .host("kea"), count: 1, limitMilliseconds: 1).message
    for (word, values) in [
      (3, [0, 100_001, .max]), (4, [0, 3_600_001]),
      (5, [16_385, 16_385 << 16, .max]),
    ] as [(Int, [UInt32])] {
      for value in values {
        var message = sound
        message.mcb[word] = value
        #expect(throws: WireError.badField(.operation)) { try MeasureSends(parsing: message) }
      }
    }
    var echo = EchoSegment(answerBytes: 16_384, data: []).message
    echo.mcb[3] += 1
    #expect(throws: WireError.badField(.operation)) { try EchoSegment(parsing: echo) }
    var answer = Message(reply: .ok)
    answer.mcb[2] = 1
    #expect(throws: WireError.badField(.operation)) { try MeasureSends.Answer(parsing: answer) }
  }

  @Test("a host name has at most 255 octets of UTF-8, and an answer names a server")
  func hosts() {
    let mcb = FindNode(host: "").message.mcb
    #expect(throws: WireError.badField(.name)) {
      try FindNode(parsing: Message(mcb, segment: [UInt8](repeating: 0x61, count: 256)))
    }
    #expect(throws: WireError.badField(.utf8)) {
      try FindNode(parsing: Message(mcb, segment: [0xFF]))
    }
    #expect(throws: WireError.invalidEntity) { try FindNode.Answer(parsing: Message(reply: .ok)) }
    #expect(EntityID.nodeServer(of: KernelID(5)).description == "BE-2-0.0.0.5")
    #expect(EntityID.nodeGroup.description == "UG-18-224.0.1.0")
  }
}
