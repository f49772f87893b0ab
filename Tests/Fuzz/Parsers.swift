import VProtocol
import VStore
import VTeamServer

/// One parser under test: it parses octets, and checks that the value is emitted and parsed the
/// same.
///
/// Descriptors, modifications and claims are parsed within operations and answers.
struct Parser: Sendable {
  enum Outcome { case parsed, refused, broken }

  /// What the parsers of a target take in, one after another.
  final class Input {
    let bytes: [UInt8]
    /// Made once for all operations: they outnumber the other parsers.
    private(set) lazy var message = Parser.message(bytes)

    init(_ bytes: [UInt8]) { self.bytes = bytes }
  }

  let name: String
  let run: @Sendable (Input) -> Outcome

  init(name: String, run: @escaping @Sendable ([UInt8]) -> Outcome) {
    self.name = name
    self.run = { run($0.bytes) }
  }

  private init(name: String, ofMessage run: @escaping @Sendable (Message) -> Outcome) {
    self.name = name
    self.run = { run($0.message) }
  }

  /// What is fuzzed together, by name.
  static let targets: [String: [Parser]] = [
    "packets": [
      Parser(name: "PacketHeader", run: packetHeader), Parser(name: "Checksum", run: checksum),
      packets,
    ],
    "sealed": [Parser(name: "Trailer", run: trailer), sealedPackets],
    "recordings": [recordings],
    "operations": [Parser(name: "Notify", ofMessage: notify)] + operations,
    "answers": answers,
    "attach": [attach],
    "keeper": [keeper],
    "texts": [
      Parser(name: "EntityID", run: entityID),
      Parser(name: "SegmentReader", run: segmentReader),
      Parser(name: "ProgramRequest", run: programRequest),
      Parser(name: "ControlLine", run: controlLine),
    ],
  ]

  static let all = targets.sorted { $0.key < $1.key }.flatMap(\.value)

  /// Written out, so that the compiler knows each type: metatypes of the table take longer.
  private static let operations: [Parser] = {
    let parsers = [
      operation(ProbeEntity.self), operation(QueryName.self), operation(QueryObject.self),
      operation(ModifyObject.self), operation(AddName.self), operation(LinkName.self),
      operation(RemoveName.self), operation(RenameObject.self), operation(ReadLink.self),
      operation(CheckAccess.self), operation(QueryStore.self), operation(ClaimName.self),
      operation(SpreadClaims.self), operation(QueryAttribute.self), operation(ListAttributes.self),
      operation(ChangeAttribute.self), operation(ForgetName.self), operation(SpreadDigest.self),
      operation(QueryClaims.self), operation(CreateInstance.self), operation(QueryInstance.self),
      operation(ModifyInstance.self), operation(ReadInstance.self), operation(WriteInstance.self),
      operation(ReleaseInstance.self), operation(SyncInstance.self), operation(LockInstance.self),
      operation(QueryLock.self), operation(CancelWait.self), operation(ListInstances.self),
      operation(ChangeOwner.self), operation(AwaitInstance.self), operation(PingNode.self),
      operation(FindNode.self), operation(QueryNode.self), operation(MeasureSends.self),
      operation(EchoSegment.self), operation(GetTime.self), operation(DelayProcess.self),
      operation(WakeUp.self), operation(QueryProcess.self), operation(SelectHost.self),
      operation(ControlTeam.self), operation(QueryTeam.self), operation(GroupMessage.self),
      operation(QueryGroup.self), operation(ChangeGroup.self),
    ]
    precondition(
      parsers.map(\.name) == OperationTable.entries.compactMap { $0.operation.map { "\($0)" } },
      "every operation of the table, in its order")
    return parsers
  }()

  private static let answers: [Parser] = [
    answer(Done.self), answer(Descriptor.self), answer(ProbeEntity.EntityState.self),
    answer(CreateInstance.Answer.self), answer(ReadInstance.Answer.self),
    answer(ListInstances.Answer.self), answer(WriteInstance.Answer.self),
    answer(AwaitInstance.Answer.self), answer(QueryName.Answer.self),
    answer(QueryClaims.Answer.self), answer(QueryStore.Answer.self), answer(FindNode.Answer.self),
    answer(QueryNode.Answer.self), answer(MeasureSends.Answer.self),
    answer(EchoSegment.Answer.self), answer(LockInstance.Answer.self),
    answer(QueryLock.Answer.self), answer(Nanoseconds.self), answer(GroupMessage.Answer.self),
    answer(QueryGroup.Answer.self), answer(SelectHost.Answer.self), answer(QueryTeam.Answer.self),
  ]

  /// A message as an input: eight words, then the segment.
  static func bytes(of message: Message) -> [UInt8] {
    var writer = SegmentWriter()
    for word in 0..<8 { writer.integer(message.mcb[word]) }
    return writer.bytes + message.segment
  }

  fileprivate static func message(_ bytes: [UInt8]) -> Message {
    var reader = SegmentReader(bytes + [UInt8](repeating: 0, count: max(0, 32 - bytes.count)))
    var mcb = MessageControlBlock()
    for word in 0..<8 { mcb[word] = (try? reader.integer()) ?? 0 }
    return Message(mcb, segment: Array(bytes.dropFirst(32).prefix(Message.segmentBytesMax)))
  }

  private static func operation<Value: Operation>(_ type: Value.Type) -> Parser {
    Parser(
      name: "\(type)",
      ofMessage: { message in
        check(try? Value(parsing: message)) { try Value(parsing: $0.message) }
      })
  }

  private static func answer<Value: OperationAnswer>(_ type: Value.Type) -> Parser {
    Parser(
      name: "answer \(String(reflecting: type).dropFirst("VProtocol.".count))",
      ofMessage: { message in
        check(try? Value(parsing: message)) { try Value(parsing: $0.message) }
      })
  }

  private static func check<Value: Equatable>(
    _ value: Value?, again: (Value) throws -> Value
  ) -> Outcome {
    guard let value else { return .refused }
    return (try? again(value)) == value ? .parsed : .broken
  }

  /// The octets themselves must be equal, except for the three reserved bits of word 3.
  private static func packetHeader(_ bytes: [UInt8]) -> Outcome {
    let header = try? PacketHeader(parsing: bytes.span.bytes, bodyBytes: bytes.count)
    guard let header else { return .refused }
    var out = Array(bytes.prefix(PacketHeader.byteCount))
    var expected = out
    var span = out.mutableSpan
    var raw = span.mutableBytes
    header.emit(into: &raw)
    expected[15] &= 0xF1
    return out == expected ? .parsed : .broken
  }

  /// A packet with the computed checksum is valid.
  private static func checksum(_ bytes: [UInt8]) -> Outcome {
    let body = bytes.count - Checksum.byteCount
    guard body >= PacketHeader.byteCount else { return .refused }
    let covered = bytes[10] & 0x80 != 0 ? PacketHeader.byteCount : body
    var writer = SegmentWriter()
    writer.octets(bytes.prefix(body))
    writer.integer(Checksum.of(bytes.span.bytes, count: covered))
    guard Checksum.isSound(writer.bytes.span.bytes, count: body) else { return .broken }
    return Checksum.isSound(bytes.span.bytes, count: body) ? .parsed : .refused
  }

  private static func trailer(_ bytes: [UInt8]) -> Outcome {
    guard let trailer = try? SealedPacket.Trailer(parsing: bytes.span.bytes) else {
      return .refused
    }
    var out = bytes
    var span = out.mutableSpan
    var raw = span.mutableBytes
    trailer.emit(into: &raw, at: bytes.count - SealedPacket.trailerBytes)
    return out == bytes ? .parsed : .broken
  }

  private static func entityID(_ bytes: [UInt8]) -> Outcome {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let entity = EntityID(text) else { return .refused }
    return entity.description == text && EntityID(entity.description) == entity ? .parsed : .broken
  }

  /// Reads the fields that the first octets choose, and compares them with the input.
  private static func segmentReader(_ bytes: [UInt8]) -> Outcome {
    var reader = SegmentReader(bytes)
    for octet in bytes.prefix(24) {
      guard octet % 7 != 0 || (try? reader.integer(UInt64.self)) != nil,
        octet % 5 != 0 || (try? reader.text()) != nil,
        octet % 3 != 0 || (try? reader.skip(to: Int(octet))) != nil
      else { return .refused }
      let start = reader.position
      guard let octets = try? reader.octets(Int(octet % 9) - 1) else { return .refused }
      if octets != Array(bytes[start..<reader.position]) { return .broken }
    }
    return .parsed
  }

  private static func notify(_ message: Message) -> Outcome {
    let client = NotifyClient(parsing: message.mcb)
    guard NotifyClient(parsing: client.mcb) == client else { return .broken }
    return check(NotifyServer(parsing: client.mcb)) { NotifyServer(parsing: $0.mcb) }
  }

  /// Written again as headers and arguments it is the same request.
  private static func programRequest(_ bytes: [UInt8]) -> Outcome {
    _ = try? ProgramRequest.length(bytes)
    guard let request = try? ProgramRequest(parsing: bytes) else { return .refused }
    var lines = ["class: \(request.programClass.rawValue)\n"].flatMap { Array($0.utf8) }
    if !request.directory.isEmpty { lines += "dir: ".utf8 + request.directory + "\n".utf8 }
    for variable in request.environment {
      let escaped = variable.flatMap { octet -> [UInt8] in
        switch octet {
        case UInt8(ascii: "\n"): Array("\\n".utf8)
        case UInt8(ascii: "\\"): Array("\\\\".utf8)
        default: [octet]
        }
      }
      lines += "env: ".utf8 + escaped + "\n".utf8
    }
    if request.isAttached { lines += "attached: yes\n".utf8 }
    if let size = request.terminal { lines += "terminal: \(size.rows) \(size.columns)\n".utf8 }
    lines += "wait: \(request.waitSeconds)\numask: \(String(request.umask, radix: 8))\n".utf8
    if let group = request.group { lines += "group: ".utf8 + group.octets + "\n".utf8 }
    lines += "\n".utf8 + request.arguments.flatMap { $0 + [0] }
    guard lines.count <= ProgramRequest.octetsMax else { return .parsed }
    guard var again = try? ProgramRequest(parsing: lines) else { return .broken }
    // A line for the shell is named by its first word.
    again.name = request.name
    return again == request ? .parsed : .broken
  }

  private static func controlLine(_ bytes: [UInt8]) -> Outcome {
    guard let line = try? ControlLine(parsing: bytes) else { return .refused }
    return (try? ControlLine(parsing: Array("\(text(of: line))\n".utf8))) == line
      ? .parsed : .broken
  }

  private static func text(of line: ControlLine) -> String {
    switch line {
    case .program(.suspend): "suspend"
    case .program(.resume): "resume"
    case .program(.kill(let signal)): "kill \(signal)"
    case .program(.setClass(let programClass)): "class \(programClass.rawValue)"
    case .program(.setSize(let size)): "size \(size.rows) \(size.columns)"
    case .join(let group): "join \(group)"
    case .leave(let group): "leave \(group)"
    }
  }
}
