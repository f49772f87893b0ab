// Interface 0x0010: the operations on names and on the objects they lead to.

/// An operation whose request has only a name.
public protocol NameOperation: Operation {
  var name: ContextName { get }
  init(_ name: ContextName)
}

extension NameOperation {
  public init(parsing message: Message) throws(WireError) {
    self.init(try ContextName(parsing: message))
  }
  public var message: Message { name.message(Self.request) }
}

/// Asks the name handling group for the manager of the longest prefix of a name.
///
/// Only a manager answers that has the prefix, or a prefix below the name (the name is then a
/// shared context).
public struct QueryName: NameOperation {
  public static let code: UInt32 = 0x001001
  public static let isIdempotent = true

  public var name: ContextName
  public init(_ name: ContextName) { self.name = name }

  public struct Answer: OperationAnswer {
    public var manager: EntityID
    public var context: ContextID
    /// Octets of the name that are the prefix.
    public var prefixBytes: Int
    /// `context`, or `sharedContext` where the name only leads to prefixes.
    public var kind: ObjectKind

    public init(manager: EntityID, context: ContextID, prefixBytes: Int, kind: ObjectKind) {
      self.manager = manager
      self.context = context
      self.prefixBytes = prefixBytes
      self.kind = kind
    }
    public init(parsing message: Message) throws(WireError) {
      manager = EntityID(rawValue: message.mcb.pair(1))
      context = ContextID(rawValue: message.mcb.pair(3))
      prefixBytes = Int(message.mcb[5] >> 16)
      kind = ObjectKind(rawValue: UInt16(truncatingIfNeeded: message.mcb[5]))
      guard prefixBytes <= ContextName.nameBytesMax else { throw .badField(.name) }
      guard kind.isContext else { throw .badField(.descriptorKind) }
    }
    public var message: Message {
      Message(
        Self.answer.pair(1, manager.rawValue).pair(3, context.rawValue)
          .word(5, UInt32(prefixBytes) << 16 | UInt32(kind.rawValue)))
    }
  }
}

/// Describes the object of a name and grants a context for it.
///
/// Symbolic links are not followed.
public struct QueryObject: NameOperation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001002
  public static let isIdempotent = true

  public var name: ContextName
  public init(_ name: ContextName) { self.name = name }
}

/// Changes attributes of an object.
public struct ModifyObject: Operation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001003

  public var name: ContextName
  public var modification: Modification
  public init(_ name: ContextName, _ modification: Modification) {
    self.name = name
    self.modification = modification
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    var reader = name.readerBehindName(message)
    modification = try Modification(parsing: &reader)
  }
  public var message: Message {
    name.message(Self.request, more: modification.octets)
  }
}

/// Makes an object that is not opened: a directory, a symbolic link, a fifo, socket or device.
public struct AddName: Operation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001004

  public var name: ContextName
  public var kind: ObjectKind
  /// The low 12 bits of a Linux mode, umask applied.
  public var permissions: UInt32
  public var deviceNumber: UInt64
  /// Of a symbolic link.
  public var target: [UInt8]

  public init(
    _ name: ContextName, kind: ObjectKind, permissions: UInt32, deviceNumber: UInt64 = 0,
    target: [UInt8] = []
  ) {
    self.name = name
    self.kind = kind
    self.permissions = permissions
    self.deviceNumber = deviceNumber
    self.target = target
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    kind = ObjectKind(rawValue: UInt16(message.mcb[4] >> 16))
    permissions = message.mcb[4] & 0xFFFF
    deviceNumber = message.mcb.pair(5)
    target = Array(message.segment[name.name.count...])
    guard target.count <= ContextName.nameBytesMax else { throw .badField(.name) }
  }
  public var message: Message {
    name.message(
      Self.request.word(4, UInt32(kind.rawValue) << 16 | permissions & 0xFFFF)
        .pair(5, deviceNumber),
      more: target)
  }
}

/// Gives an object one more name.
public struct LinkName: Operation {
  public typealias Answer = Descriptor
  public static let code: UInt32 = 0x001005

  public var name: ContextName
  /// The context of the object.
  public var object: ContextID
  public init(_ name: ContextName, object: ContextID) {
    self.name = name
    self.object = object
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    object = ContextID(rawValue: message.mcb.pair(4))
  }
  public var message: Message {
    name.message(Self.request.pair(4, object.rawValue))
  }
}

/// Takes a name away.
public struct RemoveName: Operation {
  public static let code: UInt32 = 0x001006

  public var name: ContextName
  /// Whether the name must be that of a context; else it must be that of another object.
  public var isContext: Bool
  public init(_ name: ContextName, isContext: Bool) {
    self.name = name
    self.isContext = isContext
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    isContext = message.mcb[4] == UInt32(ObjectKind.context.rawValue)
  }
  public var message: Message {
    name.message(Self.request.word(4, UInt32((isContext ? ObjectKind.context : .file).rawValue)))
  }
}

/// Moves an object from one name to another of the same manager, in one step.
public struct RenameObject: Operation {
  public static let code: UInt32 = 0x001007

  public enum Mode: UInt32, Sendable {
    case replace = 0
    /// Fail with `duplicateName` if the new name is taken.
    case noReplace = 1
    /// Exchange the objects of the two names.
    case exchange = 2
  }

  public var old: ContextName
  public var newContext: ContextID
  public var newName: [UInt8]
  public var mode: Mode

  public init(_ old: ContextName, to newContext: ContextID, _ newName: [UInt8], mode: Mode) {
    self.old = old
    self.newContext = newContext
    self.newName = newName
    self.mode = mode
  }
  public init(parsing message: Message) throws(WireError) {
    old = try ContextName(parsing: message)
    guard let mode = Mode(rawValue: message.mcb[4]) else { throw .badField(.operation) }
    self.mode = mode
    var reader = old.readerBehindName(message)
    newContext = ContextID(rawValue: try reader.integer())
    newName = try reader.octets(reader.remaining)
    guard newName.count <= ContextName.nameBytesMax else { throw .badField(.name) }
  }
  public var message: Message {
    var writer = SegmentWriter(reserving: 8 + newName.count)
    writer.integer(newContext.rawValue)
    writer.octets(newName)
    return old.message(Self.request.word(4, mode.rawValue), more: writer.bytes)
  }
}

/// The target of a symbolic link.
public struct ReadLink: NameOperation {
  public typealias Answer = Octets
  public static let code: UInt32 = 0x001008
  public static let isIdempotent = true

  public var name: ContextName
  public init(_ name: ContextName) { self.name = name }
}

/// Asks whether the caller may read (4), write (2), execute (1) an object.
public struct CheckAccess: Operation {
  public static let code: UInt32 = 0x001009
  public static let isIdempotent = true

  public var name: ContextName
  public var mask: UInt32
  public init(_ name: ContextName, mask: UInt32) {
    self.name = name
    self.mask = mask
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    mask = message.mcb[4]
    guard mask <= 7 else { throw .badField(.operation) }
  }
  public var message: Message {
    name.message(Self.request.word(4, mask))
  }
}

/// The space of the store behind a context.
public struct QueryStore: NameOperation {
  public static let code: UInt32 = 0x00100A
  public static let isIdempotent = true

  public var name: ContextName
  public init(_ name: ContextName) { self.name = name }

  public struct Answer: OperationAnswer {
    public var blockSize: UInt64 = 4096
    public var blocks: UInt64 = 0
    public var blocksFree: UInt64 = 0
    public var blocksAvailable: UInt64 = 0
    public var objects: UInt64 = 0
    public var objectsFree: UInt64 = 0
    public var objectsAvailable: UInt64 = 0
    public var nameBytesMax: UInt64 = 255

    public init() {}
    public init(parsing message: Message) throws(WireError) {
      var reader = SegmentReader(message.segment)
      blockSize = try reader.integer()
      blocks = try reader.integer()
      blocksFree = try reader.integer()
      blocksAvailable = try reader.integer()
      objects = try reader.integer()
      objectsFree = try reader.integer()
      objectsAvailable = try reader.integer()
      nameBytesMax = try reader.integer()
    }
    public var message: Message {
      var writer = SegmentWriter(reserving: 64)
      writer.integer(blockSize)
      writer.integer(blocks)
      writer.integer(blocksFree)
      writer.integer(blocksAvailable)
      writer.integer(objects)
      writer.integer(objectsFree)
      writer.integer(objectsAvailable)
      writer.integer(nameBytesMax)
      return Message(segment: writer.bytes)
    }
  }
}
