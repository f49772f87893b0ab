// Interface 0x0011: the operations on UIO objects.

/// A manager's number for one instance: 64 bits that cannot be guessed, never used a second time,
/// and valid only for the principal that the instance belongs to.
public struct InstanceID: Hashable, Sendable {
  public var rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Opens an object by name, making it first if the mode says so.
///
/// The instance belongs to the client's principal.
public struct CreateInstance: Operation {
  public static let code: UInt32 = 0x001101
  /// The first of the two words of the owner; the node checks it for attached processes.
  public static let ownerWord = 5

  public var name: ContextName
  public var mode: OpenMode
  /// Of a new object, the low 12 bits of a Linux mode, umask applied.
  public var permissions: UInt32
  /// The process whose death frees the instance, one of the client's own kernel; `none` means the
  /// client itself.
  public var owner: EntityID

  public init(
    _ name: ContextName, mode: OpenMode, permissions: UInt32 = 0, owner: EntityID = .none
  ) {
    self.name = name
    self.mode = mode
    self.permissions = permissions
    self.owner = owner
  }

  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    mode = OpenMode(rawValue: message.mcb[4] >> 16)
    permissions = message.mcb[4] & 0xFFFF
    owner = EntityID(rawValue: message.mcb.pair(Self.ownerWord))
  }

  public var message: Message {
    name.message(
      Self.request.word(4, mode.rawValue << 16 | permissions & 0xFFFF).pair(
        Self.ownerWord, owner.rawValue))
  }

  public struct Answer: OperationAnswer {
    public var instance: InstanceID
    public var attributes: UIOAttributes
    /// Whether this operation made the object.
    public var isNew: Bool
    public var descriptor: Descriptor

    public init(
      instance: InstanceID, attributes: UIOAttributes, isNew: Bool, descriptor: Descriptor
    ) {
      self.instance = instance
      self.attributes = attributes
      self.isNew = isNew
      self.descriptor = descriptor
    }

    public init(parsing message: Message) throws(WireError) {
      instance = InstanceID(rawValue: message.mcb.pair(1))
      attributes = UIOAttributes(rawValue: message.mcb[3])
      isNew = message.mcb[4] != 0
      descriptor = try Descriptor(parsing: message)
    }

    public var message: Message {
      Message(
        Self.answer.pair(1, instance.rawValue).word(3, attributes.rawValue)
          .word(4, isNew ? 1 : 0), segment: descriptor.message.segment)
    }
  }
}

/// An operation whose request has only an instance.
public protocol InstanceOperation: Operation {
  var instance: InstanceID { get }
  init(_ instance: InstanceID)
}

extension InstanceOperation {
  public init(parsing message: Message) throws(WireError) {
    self.init(InstanceID(rawValue: message.mcb.pair(1)))
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue))
  }
}

/// Describes the object behind an instance.
public struct QueryInstance: InstanceOperation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001102
  public static let isIdempotent = true

  public var instance: InstanceID
  public init(_ instance: InstanceID) { self.instance = instance }
}

/// Changes attributes of the object behind an instance.
public struct ModifyInstance: Operation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001103

  public var instance: InstanceID
  public var modification: Modification

  public init(_ instance: InstanceID, _ modification: Modification) {
    self.instance = instance
    self.modification = modification
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    var reader = SegmentReader(message.segment)
    modification = try Modification(parsing: &reader)
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue), segment: modification.octets)
  }
}

/// Reads up to 16 KB.
///
/// The position is an octet offset for RANDOM_ACCESS without STREAM, the position of a record for a
/// directory, else a block number. Fewer octets than wanted mean the end of the object, or, for a
/// stream, that there are no more now. Directories answer whole descriptor records.
public struct ReadInstance: Operation {
  public static let code: UInt32 = 0x001104
  public static let isIdempotent = true

  public var instance: InstanceID
  public var position: UInt64
  public var count: Int

  public init(_ instance: InstanceID, position: UInt64, count: Int) {
    self.instance = instance
    self.position = position
    self.count = count
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    count = Int(message.mcb[3])
    position = message.mcb.pair(4)
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue).word(3, UInt32(count)).pair(4, position))
  }

  /// The octets read; none at the end of the object.
  public struct Answer: OperationAnswer {
    public var data: [UInt8]
    /// Of the first of them, where a stream counts its octets.
    public var position: UInt64

    public init(data: [UInt8], position: UInt64 = 0) {
      self.data = data
      self.position = position
    }
    public init(parsing message: Message) throws(WireError) {
      data = message.segment
      position = message.mcb.pair(1)
    }
    public var message: Message { Message(Self.answer.pair(1, position), segment: data) }
  }
}

/// Writes up to 16 KB.
public struct WriteInstance: Operation {
  public static let code: UInt32 = 0x001105

  public var instance: InstanceID
  public var position: UInt64
  /// Drop set-user and set-group bits.
  public var dropsPrivileges: Bool
  public var data: [UInt8]

  public init(
    _ instance: InstanceID, position: UInt64, data: [UInt8], dropsPrivileges: Bool = false
  ) {
    self.instance = instance
    self.position = position
    self.data = data
    self.dropsPrivileges = dropsPrivileges
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    dropsPrivileges = message.mcb[3] & 1 != 0
    position = message.mcb.pair(4)
    data = message.segment
  }
  public var message: Message {
    Message(
      Self.request.pair(1, instance.rawValue).word(3, dropsPrivileges ? 1 : 0).pair(4, position),
      segment: data)
  }

  public struct Answer: OperationAnswer {
    /// Octets written.
    public var count: Int
    /// Of the object, afterwards.
    public var size: UInt64
    public init(count: Int, size: UInt64) {
      self.count = count
      self.size = size
    }
    public init(parsing message: Message) throws(WireError) {
      count = Int(message.mcb[1])
      size = message.mcb.pair(2)
    }
    public var message: Message {
      Message(Self.answer.word(1, UInt32(count)).pair(2, size))
    }
  }
}

/// Ends an instance.
///
/// Releasing an instance that does not exist is no error.
public struct ReleaseInstance: InstanceOperation {
  public static let code: UInt32 = 0x001106
  public static let isIdempotent = true

  public var instance: InstanceID
  public init(_ instance: InstanceID) { self.instance = instance }
}

/// Writes the object's data to the disk.
public struct SyncInstance: Operation {
  public static let code: UInt32 = 0x001107
  public static let isIdempotent = true

  public var instance: InstanceID
  public var isDataOnly: Bool
  public init(_ instance: InstanceID, isDataOnly: Bool) {
    self.instance = instance
    self.isDataOnly = isDataOnly
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    isDataOnly = message.mcb[3] & 1 != 0
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue).word(3, isDataOnly ? 1 : 0))
  }
}

/// Gives an instance to another process of the client's host, whose death frees it from then on.
///
/// The principal stays the same, and only it may ask.
public struct ChangeOwner: Operation {
  public static let code: UInt32 = 0x00110C
  /// The first of the two words of the owner.
  public static let ownerWord = 3
  public static let isIdempotent = true

  public var instance: InstanceID
  /// One of the client's own kernel.
  public var owner: EntityID

  public init(_ instance: InstanceID, to owner: EntityID) {
    self.instance = instance
    self.owner = owner
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    owner = EntityID(rawValue: message.mcb.pair(Self.ownerWord))
    guard owner.isValid else { throw .invalidEntity }
  }
  public var message: Message {
    Message(Self.request.pair(1, instance.rawValue).pair(Self.ownerWord, owner.rawValue))
  }
}

/// Lists what is open at a manager, in whole lines, one for each instance; no lines after the last.
public struct ListInstances: Operation {
  public static let code: UInt32 = 0x00110B
  public static let isIdempotent = true

  /// Where the lines start: `next` of the answer before, 0 for the first ones.
  public var start: UInt64
  public init(from start: UInt64) { self.start = start }
  public init(parsing message: Message) throws(WireError) { start = message.mcb.pair(1) }
  public var message: Message { Message(Self.request.pair(1, start)) }

  public struct Answer: OperationAnswer {
    /// Where the lines behind these start: greater than `start` where there are lines.
    public var next: UInt64
    public var data: [UInt8]

    public init(next: UInt64, data: [UInt8]) {
      self.next = next
      self.data = data
    }
    public init(parsing message: Message) throws(WireError) {
      next = message.mcb.pair(1)
      data = message.segment
    }
    public var message: Message { Message(Self.answer.pair(1, next), segment: data) }
  }
}
