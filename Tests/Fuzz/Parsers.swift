import VProtocol

/// One parser under test: bytes in, and whether what it parsed is emitted and parsed the same.
struct Parser: Sendable {
  enum Outcome { case parsed, refused, broken }

  let name: String
  let run: @Sendable ([UInt8]) -> Outcome

  static let all: [Parser] =
    [
      Parser(name: "PacketHeader", run: packetHeader), Parser(name: "Checksum", run: checksum),
      Parser(name: "Trailer", run: trailer), Parser(name: "EntityID", run: entityID),
      Parser(name: "SegmentReader", run: segmentReader), Parser(name: "Record", run: descriptor),
      Parser(name: "Modification", run: modification), Parser(name: "Notify", run: notify),
    ] + operations.map { operation($0) } + answers.map { answer($0) }

  private static let operations: [any Operation.Type] = [
    ProbeEntity.self, CreateInstance.self, QueryInstance.self, ModifyInstance.self,
    ReadInstance.self, WriteInstance.self, ReleaseInstance.self, SyncInstance.self,
    QueryName.self, QueryObject.self, ModifyObject.self, AddName.self, LinkName.self,
    RemoveName.self, RenameObject.self, ReadLink.self, CheckAccess.self, QueryStore.self,
    ClaimName.self, SpreadClaims.self, PingNode.self, FindNode.self, QueryNode.self,
    MeasureSends.self,
  ]

  private static let answers: [any OperationAnswer.Type] = [
    Done.self, Descriptor.self, ProbeEntity.EntityState.self, CreateInstance.Answer.self,
    ReadInstance.Answer.self, WriteInstance.Answer.self, QueryName.Answer.self,
    QueryStore.Answer.self, FindNode.Answer.self, QueryNode.Answer.self,
    MeasureSends.Answer.self,
  ]

  /// A message as an input: eight words, then the segment.
  static func bytes(of message: Message) -> [UInt8] {
    var writer = SegmentWriter()
    for word in 0..<8 { writer.integer(message.mcb[word]) }
    return writer.bytes + message.segment
  }

  private static func message(_ bytes: [UInt8]) -> Message {
    var reader = SegmentReader(bytes + [UInt8](repeating: 0, count: max(0, 32 - bytes.count)))
    var mcb = MessageControlBlock()
    for word in 0..<8 { mcb[word] = (try? reader.integer()) ?? 0 }
    return Message(mcb, segment: Array(bytes.dropFirst(32).prefix(Message.segmentBytesMax)))
  }

  private static func operation<Value: Operation>(_ type: Value.Type) -> Parser {
    Parser(name: "\(type)") { bytes in
      check(try? Value(parsing: message(bytes))) { try Value(parsing: $0.message) }
    }
  }

  private static func answer<Value: OperationAnswer>(_ type: Value.Type) -> Parser {
    Parser(name: "answer \(String(reflecting: type).dropFirst("VProtocol.".count))") { bytes in
      check(try? Value(parsing: message(bytes))) { try Value(parsing: $0.message) }
    }
  }

  private static func check<Value: Equatable>(
    _ value: Value?, again: (Value) throws -> Value
  ) -> Outcome {
    guard let value else { return .refused }
    return (try? again(value)) == value ? .parsed : .broken
  }

  /// Here the octets as well must come back, but for the three reserved bits of word 3.
  private static func packetHeader(_ bytes: [UInt8]) -> Outcome {
    let span = bytes.span.bytes
    guard let header = try? PacketHeader(parsing: span, bodyBytes: bytes.count) else {
      return .refused
    }
    var out = bytes
    var words = out.mutableSpan
    var raw = words.mutableBytes
    header.emit(into: &raw)
    var expected = bytes
    expected[15] &= 0xF1
    guard out == expected else { return .broken }
    return check(header) { _ in try PacketHeader(parsing: out.span.bytes, bodyBytes: out.count) }
  }

  /// A packet that gets the checksum that was computed is sound.
  private static func checksum(_ bytes: [UInt8]) -> Outcome {
    let body = bytes.count - Checksum.byteCount
    guard body >= PacketHeader.byteCount else { return .refused }
    let isSound = Checksum.isSound(bytes.span.bytes, count: body)
    let covered = bytes[10] & 0x80 != 0 ? PacketHeader.byteCount : body
    var writer = SegmentWriter()
    writer.octets(bytes.prefix(body))
    writer.integer(Checksum.of(bytes.span.bytes, count: covered))
    guard Checksum.isSound(writer.bytes.span.bytes, count: body) else { return .broken }
    return isSound ? .parsed : .refused
  }

  private static func trailer(_ bytes: [UInt8]) -> Outcome {
    check(try? SealedPacket.Trailer(parsing: bytes.span.bytes)) { trailer in
      var out = [UInt8](repeating: 0, count: 92)
      var words = out.mutableSpan
      var raw = words.mutableBytes
      trailer.emit(into: &raw, at: 64)
      return try SealedPacket.Trailer(parsing: out.span.bytes)
    }
  }

  private static func entityID(_ bytes: [UInt8]) -> Outcome {
    guard let text = String(validating: bytes, as: UTF8.self), let entity = EntityID(text) else {
      return .refused
    }
    return entity.description == text && EntityID(entity.description) == entity ? .parsed : .broken
  }

  /// Reads whatever the first octets ask for; what was read is what lay there.
  private static func segmentReader(_ bytes: [UInt8]) -> Outcome {
    var reader = SegmentReader(bytes)
    for octet in bytes.prefix(24) {
      let start = reader.position
      do throws(WireError) {
        switch octet % 5 {
        case 0: _ = try reader.integer(UInt64.self)
        case 1: _ = try reader.text()
        case 2: _ = try reader.string(Int(octet) - 20)
        case 3: try reader.skip(to: Int(octet))
        default:
          let octets = try reader.octets(Int(octet) - 30)
          guard octets == Array(bytes[start...].prefix(octets.count)) else { return .broken }
        }
      } catch {
        return .refused
      }
      guard reader.position >= start, reader.remaining >= 0 else { return .broken }
    }
    return .parsed
  }

  private static func descriptor(_ bytes: [UInt8]) -> Outcome {
    var reader = SegmentReader(bytes)
    return check(try? Descriptor(parsing: &reader)) { try Descriptor(parsing: $0.message) }
  }

  private static func modification(_ bytes: [UInt8]) -> Outcome {
    var reader = SegmentReader(bytes)
    return check(try? Modification(parsing: &reader)) { value in
      var writer = SegmentWriter()
      value.emit(into: &writer)
      var reader = SegmentReader(writer.bytes)
      return try Modification(parsing: &reader)
    }
  }

  private static func notify(_ bytes: [UInt8]) -> Outcome {
    let mcb = message(bytes).mcb
    let outcome = check(NotifyClient(parsing: mcb)) { NotifyClient(parsing: $0.mcb) }
    guard outcome == .parsed else { return outcome }
    return check(NotifyServer(parsing: mcb)) { NotifyServer(parsing: $0.mcb) }
  }
}
