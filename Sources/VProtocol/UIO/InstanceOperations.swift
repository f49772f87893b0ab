// Interface 0x0011: the operations on UIO objects.

/// A manager's number for one instance: small, reused late, meaningless without the manager.
public struct InstanceID: Hashable, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// Opens an object by name, making it first if the mode says so.
///
/// Words: 1, 2 name fields; 3 mode; 4 permissions of a new object (umask applied by the caller);
/// 5, 6 owner process. Segment: name.
public struct CreateInstance: Operation {
  public static let code: UInt32 = 0x001101

  public var name: ContextName
  public var mode: OpenMode
  public var permissions: UInt32
  /// The process whose death frees the instance; `none` means the client itself.
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
    mode = OpenMode(rawValue: message.mcb[3])
    permissions = message.mcb[4]
    owner = EntityID(rawValue: message.mcb.pair(5))
  }

  public var message: Message {
    name.message(Self.request.word(3, mode.rawValue).word(4, permissions).pair(5, owner.rawValue))
  }

  /// Words: 1 instance, 2 attributes, 3 whether the object was made.
  ///
  /// Segment: descriptor.
  public struct Answer: OperationAnswer {
    public var instance: InstanceID
    public var attributes: UIOAttributes
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
      instance = InstanceID(rawValue: message.mcb[1])
      attributes = UIOAttributes(rawValue: message.mcb[2])
      isNew = message.mcb[3] != 0
      descriptor = try Descriptor(parsing: message)
    }

    public var message: Message {
      Message(
        Self.answer.word(1, instance.rawValue).word(2, attributes.rawValue)
          .word(3, isNew ? 1 : 0), segment: descriptor.message.segment)
    }
  }
}

/// An operation that says nothing but the instance: word 1.
public protocol InstanceOperation: Operation {
  var instance: InstanceID { get }
  init(_ instance: InstanceID)
}

extension InstanceOperation {
  public init(parsing message: Message) throws(WireError) {
    self.init(InstanceID(rawValue: message.mcb[1]))
  }
  public var message: Message {
    Message(Self.request.word(1, instance.rawValue))
  }
}

/// Describes the object behind an instance.
///
/// Words: 1 instance. Answer: its descriptor.
public struct QueryInstance: InstanceOperation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001102
  public static let isIdempotent = true

  public var instance: InstanceID
  public init(_ instance: InstanceID) { self.instance = instance }
}

/// Changes attributes of the object behind an instance.
///
/// Words: 1 instance. Segment: modification.
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
    instance = InstanceID(rawValue: message.mcb[1])
    var reader = SegmentReader(message.segment)
    modification = try Modification(parsing: &reader)
  }
  public var message: Message {
    Message(Self.request.word(1, instance.rawValue), segment: modification.octets)
  }
}

/// Reads up to 16 KB.
///
/// Words: 1 instance, 2 octets wanted, 3 and 4 position.
///
/// The position is an octet offset for RANDOM_ACCESS without STREAM, the position of a record for a
/// directory, else a block number. Fewer octets than wanted means that the object ends there, or,
/// for a stream, that no more are there now. Directories answer whole descriptor records.
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
    instance = InstanceID(rawValue: message.mcb[1])
    count = Int(message.mcb[2])
    position = message.mcb.pair(3)
  }
  public var message: Message {
    Message(Self.request.word(1, instance.rawValue).word(2, UInt32(count)).pair(3, position))
  }

  /// Segment: the octets read; none at the end of the object.
  public struct Answer: OperationAnswer {
    public var data: [UInt8]
    public init(data: [UInt8]) { self.data = data }
    public init(parsing message: Message) throws(WireError) { data = message.segment }
    public var message: Message { Message(segment: data) }
  }
}

/// Writes up to 16 KB.
///
/// Words: 1 instance, 2 flags (1: clear privileges), 3 and 4 position.
public struct WriteInstance: Operation {
  public static let code: UInt32 = 0x001105

  public var instance: InstanceID
  public var position: UInt64
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
    instance = InstanceID(rawValue: message.mcb[1])
    dropsPrivileges = message.mcb[2] & 1 != 0
    position = message.mcb.pair(3)
    data = message.segment
  }
  public var message: Message {
    Message(
      Self.request.word(1, instance.rawValue).word(2, dropsPrivileges ? 1 : 0).pair(3, position),
      segment: data)
  }

  /// Words: 1 octets written, 2 and 3 size of the object afterwards.
  public struct Answer: OperationAnswer {
    public var count: Int
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
/// Words: 1 instance. Releasing one that is gone is not an error.
public struct ReleaseInstance: InstanceOperation {
  public static let code: UInt32 = 0x001106
  public static let isIdempotent = true

  public var instance: InstanceID
  public init(_ instance: InstanceID) { self.instance = instance }
}

/// Puts what was written on the disk.
///
/// Words: 1 instance, 2 flags (1: data only).
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
    instance = InstanceID(rawValue: message.mcb[1])
    isDataOnly = message.mcb[2] & 1 != 0
  }
  public var message: Message {
    Message(Self.request.word(1, instance.rawValue).word(2, isDataOnly ? 1 : 0))
  }
}

/// What is open at a manager: what a host's list of instances is made of.
///
/// Words: 1 lines to leave out. Answer: whole lines, one for each instance; none behind the last.
public struct ListInstances: Operation {
  public typealias Answer = ReadInstance.Answer
  public static let code: UInt32 = 0x00110B
  public static let isIdempotent = true

  public var start: UInt32
  public init(from start: UInt32) { self.start = start }
  public init(parsing message: Message) throws(WireError) { start = message.mcb[1] }
  public var message: Message { Message(Self.request.word(1, start)) }
}
