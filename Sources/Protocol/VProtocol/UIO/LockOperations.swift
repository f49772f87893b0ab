/// What a lock excludes: everything that conflicts with it.
public enum LockKind: UInt8, Sendable {
  /// No lock; setting it unlocks.
  case none
  /// Together with other shared ones.
  case shared
  case exclusive

  /// Whether two locks of different owners on one octet conflict.
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
  /// The lock of flock(2), which is independent of locks on ranges (fcntl(2)).
  public var isWhole: Bool
  /// The owner of the lock, by a number that the process which owns the instance gives.
  public var owner: UInt64
  public var range: ClosedRange<UInt64>
  /// The Linux process on the owner's host, for people; 0 if it is unknown.
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

/// Sets or removes a lock.
///
/// Repeating it has no further effect.
public struct LockInstance: Operation {
  public enum How: UInt32, Sendable {
    /// Refused with `wouldBlock` if another owner's lock conflicts.
    case atOnce
    /// Answered when the lock is given, or with `interrupted` after CancelWait.
    case waiting
    /// Continues a lock that the manager may have lost: refused with `wouldBlock` if a conflicting
    /// lock was given after `grant`.
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
    /// The manager's count of the locks that it has given.
    public var grant: UInt64
    public init(grant: UInt64) { self.grant = grant }
    public init(parsing message: Message) throws(WireError) { grant = message.mcb.pair(1) }
    public var message: Message {
      Message(Self.answer.pair(1, grant))
    }
  }
}

/// Asks for a lock that conflicts with another one; the answer has kind `none` if there is none.
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

/// Ends the wait of a client's request at a manager: the request is answered `interrupted`, if it
/// has not been answered yet.
///
/// `notFound` if no request of that client waits: it was answered, or has not arrived yet. Only the
/// sender of the request may do it. The client entity must not send anything else meanwhile.
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
