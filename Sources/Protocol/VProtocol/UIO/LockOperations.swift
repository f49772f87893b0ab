/// What a lock keeps others from: everything that conflicts with it.
public enum LockKind: UInt8, Sendable {
  /// No lock; setting it unlocks.
  case none
  /// Together with other shared ones.
  case shared
  case exclusive

  /// Two locks of different owners on one octet.
  public func conflicts(with other: LockKind) -> Bool {
    self != .none && other != .none && (self == .exclusive || other == .exclusive)
  }
}

/// An advisory lock on a range of an object, or on the whole object, which is a lock of its own.
///
/// ```
/// 0  owner 8 | 8 first octet 8 | 16 last octet 8 | 24 process 4 | kind 1 | scope 1 | 0 2
/// ```
public struct ObjectLock: Equatable, Sendable {
  public var kind: LockKind
  /// The lock of flock(2): it and locks on ranges (fcntl(2)) do not see each other.
  public var isWhole: Bool
  /// Whose lock it is, as the process that owns the instance numbers them.
  public var owner: UInt64
  public var range: ClosedRange<UInt64>
  /// The Linux process on the owner's host, to be shown to people; 0 where it is not known.
  public var process: UInt32

  public init(
    _ kind: LockKind, isWhole: Bool, owner: UInt64, range: ClosedRange<UInt64>, process: UInt32
  ) {
    self.kind = kind
    self.isWhole = isWhole
    self.owner = owner
    self.range = range
    self.process = process
  }

  public init(parsing message: Message) throws(WireError) {
    var reader = SegmentReader(message.segment)
    owner = try reader.integer()
    let first = try reader.integer(UInt64.self)
    let last = try reader.integer(UInt64.self)
    process = try reader.integer()
    guard let kind = LockKind(rawValue: try reader.integer()), first <= last else {
      throw .badField(.lock)
    }
    self.kind = kind
    range = first...last
    isWhole = try reader.integer(UInt8.self) & 1 != 0
    try reader.skip(to: 32)
  }

  var octets: [UInt8] {
    var writer = SegmentWriter(reserving: 32)
    writer.integer(owner)
    writer.integer(range.lowerBound)
    writer.integer(range.upperBound)
    writer.integer(process)
    writer.integer(kind.rawValue)
    writer.integer(isWhole ? 1 : 0 as UInt8)
    writer.pad(to: 8)
    return writer.bytes
  }
}

/// Sets or takes away a lock.
///
/// Done twice it is done once.
public struct LockInstance: Operation {
  public enum How: UInt32, Sendable {
    /// Refused with `wouldBlock` where another owner's lock is in the way.
    case atOnce
    /// Answered when the lock is had, or with `interrupted` after CancelWait.
    case waiting
    /// A lock that the manager may have lost is to go on: refused with `wouldBlock` if anybody was
    /// given a lock in conflict with it after `grant`.
    case reclaiming
  }

  public static let code: UInt32 = 0x001108
  public static let isIdempotent = true

  public var instance: InstanceID
  public var lock: ObjectLock
  public var how: How
  public var grant: UInt64

  public init(_ instance: InstanceID, _ lock: ObjectLock, _ how: How, grant: UInt64 = 0) {
    self.instance = instance
    self.lock = lock
    self.how = how
    self.grant = grant
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    guard let how = How(rawValue: message.mcb[3]) else { throw .badField(.lock) }
    self.how = how
    grant = message.mcb.pair(4)
    lock = try ObjectLock(parsing: message)
  }
  public var message: Message {
    Message(
      Self.request.pair(1, instance.rawValue).word(3, how.rawValue).pair(4, grant),
      segment: lock.octets)
  }

  public struct Answer: OperationAnswer {
    /// The manager's count of locks that it gave.
    public var grant: UInt64
    public init(grant: UInt64) { self.grant = grant }
    public init(parsing message: Message) throws(WireError) { grant = message.mcb.pair(1) }
    public var message: Message {
      Message(Self.answer.pair(1, grant))
    }
  }
}

/// Asks for a lock that is in the way of another one: one of kind `none` if none is.
public struct QueryLock: Operation {
  public static let code: UInt32 = 0x001109
  public static let isIdempotent = true

  public var instance: InstanceID
  public var lock: ObjectLock

  public init(_ instance: InstanceID, _ lock: ObjectLock) {
    self.instance = instance
    self.lock = lock
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    lock = try ObjectLock(parsing: message)
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue), segment: lock.octets)
  }

  public struct Answer: OperationAnswer {
    public var lock: ObjectLock
    public init(lock: ObjectLock) { self.lock = lock }
    public init(parsing message: Message) throws(WireError) {
      lock = try ObjectLock(parsing: message)
    }
    public var message: Message { Message(segment: lock.octets) }
  }
}

/// Ends whatever one request of a client waits for at a manager: that request is answered
/// `interrupted`, if it has not been answered otherwise.
///
/// `notFound` if nothing of that client waits: it was done, or it has yet to
/// come. Only for whoever sent the request. Not for a client entity that sends anew meanwhile.
public struct CancelWait: Operation {
  public static let code: UInt32 = 0x00110A
  public static let isIdempotent = true

  public var client: EntityID

  public init(_ client: EntityID) { self.client = client }
  public init(parsing message: Message) throws(WireError) {
    client = EntityID(rawValue: message.mcb.pair(1))
  }
  public var message: Message { Message(Self.request.pair(1, client.rawValue)) }
}
