/// The operations of the time server: interface 0x0013.
///
/// Every node has one, in the time group; the co-resident qualifier selects one.
extension EntityID {
  /// The time servers of all nodes.
  public static let timeGroup = EntityID(group: 0x13, low: 0xE000_0100, isUnrestricted: false)
  /// The process servers of all nodes.
  public static let processGroup = EntityID(group: 0x14, low: 0xE000_0100, isUnrestricted: false)
}

/// The time: nanoseconds since 1970, GMT.
public struct GetTime: Operation {
  public typealias Answer = Nanoseconds
  public static let code: UInt32 = 0x001301
  public static let isIdempotent = true

  /// Any entity of the host that is asked; `none` for the own host.
  public var near: EntityID
  public init(near: EntityID = .none) { self.near = near }
  public init(parsing message: Message) throws(WireError) { near = message.mcb.coResident }
  public var message: Message { Message(Self.request(near: near)) }
}

/// A time since 1970, or a span of it.
public struct Nanoseconds: OperationAnswer {
  public var count: Int64
  public init(_ count: Int64) { self.count = count }
  public init(parsing message: Message) throws(WireError) {
    count = Int64(bitPattern: message.mcb.pair(1))
  }
  public var message: Message {
    Message(Self.answer.pair(1, UInt64(bitPattern: count)))
  }
}

/// Delays the client: the answer comes when the time is over, or when another process wakes the
/// client, and has the nanoseconds that were left.
public struct DelayProcess: Operation {
  public typealias Answer = Nanoseconds
  public static let code: UInt32 = 0x001302

  public var span: TimeSpan
  /// Any entity of the host whose server delays the client; `none` for the own host.
  public var near: EntityID
  public init(_ span: TimeSpan, near: EntityID = .none) {
    self.span = span
    self.near = near
  }
  public init(parsing message: Message) throws(WireError) {
    near = message.mcb.coResident
    span = TimeSpan(nanoseconds: Int64(bitPattern: message.mcb.pair(3)))
    guard 0...Self.nanosecondsMax ~= span.nanoseconds else { throw .badField(.operation) }
  }
  public var message: Message {
    Message(Self.request(near: near).pair(3, UInt64(bitPattern: span.nanoseconds)))
  }

  /// A year.
  public static let nanosecondsMax: Int64 = 31_536_000_000_000_000
}

/// An operation on one process, for the server that is on its host.
public protocol ProcessOperation: Operation {
  var process: EntityID { get }
  init(_ process: EntityID)
}

extension ProcessOperation {
  public init(parsing message: Message) throws(WireError) {
    self.init(EntityID(rawValue: message.mcb.pair(3)))
    guard process.isValid else { throw .invalidEntity }
  }
  public var message: Message {
    Message(Self.request(near: process).pair(3, process.rawValue))
  }
}

/// Ends the delay of a process; `noProcess` if it has none.
public struct WakeUp: ProcessOperation {
  public static let code: UInt32 = 0x001303

  public var process: EntityID
  public init(_ process: EntityID) { self.process = process }
}

/// The state of a process, in lines of a word and its values: interface 0x0014, the process
/// server's.
public struct QueryProcess: ProcessOperation {
  public typealias Answer = QueryNode.Answer
  public static let code: UInt32 = 0x001401
  public static let isIdempotent = true

  public var process: EntityID
  public init(_ process: EntityID) { self.process = process }
}

extension Operation {
  /// An empty request for the member of a group that is on an entity's host, or on the own host.
  static func request(near entity: EntityID) -> MessageControlBlock {
    var mcb = request
    mcb.flags = [.coResident, .publicInterface]
    mcb.coResident = entity
    return mcb
  }
}
