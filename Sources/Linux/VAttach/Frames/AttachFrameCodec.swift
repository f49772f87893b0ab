public import VProtocol
import VRuntime

/// The octets of a frame, as the page `Attach.md` of the protocol has them.
///
/// Parsing accepts exactly what `emit` writes.
extension AttachFrame {
  public static let headerBytes = 80
  /// A principal has at most 255 octets.
  public static let textBytesMax = 255
  public static let byteCountMax = headerBytes + Message.segmentBytesMax + textBytesMax
  /// Changes with the meaning of any frame.
  static let version: UInt8 = 3

  /// Reads one whole frame.
  public init(parsing packet: RawSpan) throws(WireError) {
    guard packet.byteCount >= Self.headerBytes else {
      throw .truncated(needed: Self.headerBytes, found: packet.byteCount)
    }
    let fields = try Fields(parsing: packet)
    self = try Self.interpret(fields)
    guard self.fields == fields else { throw .badField(.operation) }
  }

  /// The number of octets that `emit` writes.
  public var byteCount: Int { fields.byteCount }

  /// Writes the frame to the front of `packet` and returns its size.
  public func emit(into packet: inout MutableRawSpan) -> Int {
    let fields = fields
    fields.emit(into: &packet)
    return fields.byteCount
  }

  private static func interpret(_ fields: Fields) throws(WireError) -> AttachFrame {
    switch fields.kind {
    case .makeClient:
      return .makeClient(
        token: fields.number, ClientUser(fields.text, marks: fields.marks))
    case .makeServer:
      return .makeServer(token: fields.number, knowsPrincipals: fields.flag == 1)
    case .join:
      return .join(token: fields.number, server: fields.entity, group: fields.other)
    case .retire:
      return .retire(fields.entity)
    case .send:
      guard 0...timeLimitMax.nanoseconds ~= fields.limit else { throw .badField(.operation) }
      return .send(
        fields.message, client: fields.entity, server: fields.other,
        SendOptions(
          timeLimit: fields.limit == 0 ? nil : TimeSpan(nanoseconds: fields.limit),
          collectsResponses: fields.flag != 0, spreadsResponses: fields.flag != 2,
          priority: fields.priority))
    case .datagram:
      return .datagram(fields.message, client: fields.entity, server: fields.other)
    case .reply:
      return .reply(fields.message, to: fields.requestName)
    case .forward:
      return .forward(fields.message, fields.requestName, to: fields.addressee)
    case .welcome:
      guard let principal = Principal(fields.text, marks: fields.marks) else {
        throw .badField(.name)
      }
      return .welcome(fields.entity.kernel, principal)
    case .made:
      return .made(token: fields.number, fields.entity)
    case .refused:
      return .refused(token: fields.number, fields.message.reply)
    case .complete:
      return .complete(
        client: fields.entity, Response(server: fields.other, message: fields.message))
    case .invoke:
      // A text that is no principal is found when the fields are compared.
      return .invoke(
        Request(
          client: fields.other, transaction: TransactionID(fields.number),
          addressee: fields.addressee, server: fields.entity, forwardCount: fields.forwardCount,
          message: fields.message, principal: Principal(fields.text, marks: fields.marks),
          isLocal: fields.flag & Fields.localFlag != 0, priority: fields.priority))
    }
  }

  private var fields: Fields {
    switch self {
    case .makeClient(let token, let user):
      return Fields(
        kind: .makeClient, flag: Fields.flags(user.marks), number: token, text: user.name)
    case .makeServer(let token, let knowsPrincipals):
      return Fields(kind: .makeServer, flag: knowsPrincipals ? 1 : 0, number: token)
    case .join(let token, let server, let group):
      return Fields(kind: .join, number: token, entity: server, other: group)
    case .retire(let entity):
      return Fields(kind: .retire, entity: entity)
    case .send(let message, let client, let server, let options):
      let collecting: UInt8 = options.spreadsResponses ? 1 : 2
      return Fields(
        kind: .send, flag: options.collectsResponses ? collecting : 0, entity: client,
        other: server, limit: options.timeLimit?.nanoseconds ?? 0, priority: options.priority,
        message: message)
    case .datagram(let message, let client, let server):
      return Fields(kind: .datagram, entity: client, other: server, message: message)
    case .reply(let message, let name):
      return Fields(
        kind: .reply, forwardCount: name.forwardCount, number: name.transaction.rawValue,
        entity: name.server, other: name.client, message: message)
    case .forward(let message, let name, let target):
      return Fields(
        kind: .forward, forwardCount: name.forwardCount, number: name.transaction.rawValue,
        entity: name.server, other: name.client, addressee: target, message: message)
    case .welcome(let kernel, let principal):
      return Fields(
        kind: .welcome, flag: Fields.flags(principal.marks), entity: .manager(of: kernel),
        text: principal.description)
    case .made(let token, let entity):
      return Fields(kind: .made, number: token, entity: entity)
    case .refused(let token, let code):
      return Fields(kind: .refused, number: token, message: Message(reply: code))
    case .complete(let client, let response):
      return Fields(
        kind: .complete, entity: client, other: response.server, message: response.message)
    case .invoke(let request):
      return Fields(
        kind: .invoke,
        flag: Fields.flags(request.principal?.marks ?? [])
          | (request.isLocal ? Fields.localFlag : 0),
        forwardCount: request.forwardCount, number: request.transaction.rawValue,
        entity: request.server, other: request.client, addressee: request.addressee,
        priority: request.priority, text: request.principal?.description ?? "",
        message: request.message)
    }
  }
}

/// The fields of a frame before its kind is checked.
private struct Fields: Equatable {
  enum Kind: UInt8 {
    case makeClient = 1
    case makeServer, join, retire, send, datagram, reply, forward
    case welcome = 128
    case made, refused, complete, invoke
  }

  var kind: Kind
  var flag: UInt8 = 0
  var forwardCount: UInt8 = 0
  var number: UInt32 = 0
  var entity = EntityID.none
  var other = EntityID.none
  var addressee = EntityID.none
  var limit: Int64 = 0
  var priority = Priority.normal
  var text = ""
  var message = Message(MessageControlBlock())

  static let localFlag: UInt8 = 128

  /// The marks of a principal; only those that a node can grant are sent.
  var marks: Principal.Marks { Principal.Marks(rawValue: UInt32(flag & ~Self.localFlag)) }
  static func flags(_ marks: Principal.Marks) -> UInt8 {
    UInt8(truncatingIfNeeded: marks.rawValue) & ~localFlag
  }

  var requestName: AttachFrame.RequestName {
    AttachFrame.RequestName(
      client: other, transaction: TransactionID(number), server: entity,
      forwardCount: forwardCount)
  }

  var byteCount: Int {
    AttachFrame.headerBytes + message.segment.count + text.utf8.count
  }
}

extension Fields {
  init(parsing packet: RawSpan) throws(WireError) {
    let version = packet.bigEndian(at: 0, as: UInt8.self)
    guard version == AttachFrame.version else { throw .badVersion(version) }
    guard let kind = Kind(rawValue: packet.bigEndian(at: 1, as: UInt8.self)) else {
      throw .badField(.operation)
    }
    self.kind = kind
    flag = packet.bigEndian(at: 2)
    forwardCount = packet.bigEndian(at: 3)
    number = packet.bigEndian(at: 4)
    entity = EntityID(rawValue: packet.bigEndian(at: 8))
    other = EntityID(rawValue: packet.bigEndian(at: 16))
    addressee = EntityID(rawValue: packet.bigEndian(at: 24))
    limit = packet.bigEndian(at: 32)
    let textField = packet.bigEndian(at: 40, as: UInt64.self)
    let textBytes = Int(textField >> 48)
    priority = Priority(bits: UInt8(textField & 15))
    guard (textField << 16) >> 20 == 0, forwardCount <= 15 else { throw .badField(.operation) }
    var mcb = MessageControlBlock()
    for word in 0..<8 { mcb[word] = packet.bigEndian(at: 48 + 4 * word) }
    let segmentBytes = mcb.segmentSize
    guard segmentBytes <= Message.segmentBytesMax, textBytes <= AttachFrame.textBytesMax,
      packet.byteCount == AttachFrame.headerBytes + segmentBytes + textBytes
    else { throw .badLength }
    let segmentEnd = AttachFrame.headerBytes + segmentBytes
    message = Message(mcb, segment: packet.copy(AttachFrame.headerBytes..<segmentEnd))
    // An empty segment is not appended.
    guard message.mcb == mcb else { throw .badLength }
    let octets = packet.copy(segmentEnd..<packet.byteCount)
    guard let text = String(validating: octets, as: UTF8.self) else { throw .badField(.utf8) }
    self.text = text
  }

  func emit(into packet: inout MutableRawSpan) {
    precondition(text.utf8.count <= AttachFrame.textBytesMax, "a principal fits 255 octets")
    packet.storeBigEndian(AttachFrame.version, at: 0)
    packet.storeBigEndian(kind.rawValue, at: 1)
    packet.storeBigEndian(flag, at: 2)
    packet.storeBigEndian(forwardCount, at: 3)
    packet.storeBigEndian(number, at: 4)
    packet.storeBigEndian(entity.rawValue, at: 8)
    packet.storeBigEndian(other.rawValue, at: 16)
    packet.storeBigEndian(addressee.rawValue, at: 24)
    packet.storeBigEndian(limit, at: 32)
    packet.storeBigEndian(UInt64(text.utf8.count) << 48 | UInt64(priority.bits), at: 40)
    for word in 0..<8 { packet.storeBigEndian(message.mcb[word], at: 48 + 4 * word) }
    unsafe packet.withUnsafeMutableBytes { target in
      let tail = unsafe target[AttachFrame.headerBytes...]
      unsafe tail.copyBytes(from: message.segment)
      unsafe tail[(tail.startIndex + message.segment.count)...].copyBytes(from: text.utf8)
    }
  }
}
