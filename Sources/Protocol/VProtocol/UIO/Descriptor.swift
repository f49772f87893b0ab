/// The typed record that describes one object: the answer to a query and a block of a directory.
///
/// ```
///   0  record length 2 | kind 2 | attributes 4
///   8  device 8 | 16 inode 8 | 24 generation 8        the object's identity
///  32  size 8 | 40 allocated octets 8
///  48  modified 8 | 56 changed 8 | 64 accessed 8 | 72 born 8   nanoseconds since 1970
///  80  permissions 4 | links 4 | 88 context 8
///  96  device number 8 | 104 position of the next record 8
/// 112  block size 4 | lengths of owner 2, group 2, name 2 | reserved 6
/// 128  owner, group, name, zeros to a multiple of 8
/// ```
/// Owner and group travel by name, or as `#N` where there is none.
public struct Descriptor: Equatable, Sendable {
  /// Which object this is, independent of its names.
  public struct Identity: Hashable, Sendable {
    public var device: UInt64
    public var inode: UInt64
    public var generation: UInt64

    public init(device: UInt64, inode: UInt64, generation: UInt64) {
      self.device = device
      self.inode = inode
      self.generation = generation
    }
  }

  public var kind: ObjectKind
  public var attributes: UIOAttributes = []
  public var identity: Identity
  /// Octets.
  public var size: UInt64 = 0
  public var allocatedBytes: UInt64 = 0
  public var modified: Int64 = 0
  public var changed: Int64 = 0
  public var accessed: Int64 = 0
  public var born: Int64 = 0
  /// The low 12 bits of a Linux mode.
  public var permissions: UInt32 = 0
  public var links: UInt32 = 1
  public var blockSize: UInt32 = 4096
  /// The context that the manager granted for this object; `none` where it granted none.
  public var context: ContextID = .none
  public var deviceNumber: UInt64 = 0
  /// In a directory: the position from which the record after this one is read.
  public var nextPosition: UInt64 = 0
  public var owner: String = "root"
  public var group: String = "root"
  public var name: [UInt8] = []

  public init(kind: ObjectKind, identity: Identity) {
    self.kind = kind
    self.identity = identity
  }

  static let fixedBytes = 128
  /// The longest name of Linux; the limit for owners and groups as well.
  public static let nameBytesMax = 255
}

extension Descriptor {
  /// Reads the record at the reader's position and advances behind it.
  public init(parsing reader: inout SegmentReader) throws(WireError) {
    let start = reader.position
    let length = Int(try reader.integer(UInt16.self))
    guard length >= Self.fixedBytes, length % 8 == 0 else { throw .badField(.descriptorLength) }
    let kind = ObjectKind(rawValue: try reader.integer())
    guard kind.rawValue != 0 else { throw .badField(.descriptorKind) }
    let attributes = UIOAttributes(rawValue: try reader.integer())
    self.init(
      kind: kind,
      identity: Identity(
        device: try reader.integer(), inode: try reader.integer(),
        generation: try reader.integer()))
    self.attributes = attributes
    size = try reader.integer()
    allocatedBytes = try reader.integer()
    modified = try reader.integer()
    changed = try reader.integer()
    accessed = try reader.integer()
    born = try reader.integer()
    permissions = try reader.integer()
    links = try reader.integer()
    context = ContextID(rawValue: try reader.integer())
    deviceNumber = try reader.integer()
    nextPosition = try reader.integer()
    blockSize = try reader.integer()
    let ownerBytes = Int(try reader.integer(UInt16.self))
    let groupBytes = Int(try reader.integer(UInt16.self))
    let nameBytes = Int(try reader.integer(UInt16.self))
    try reader.skip(to: start + Self.fixedBytes)
    guard max(ownerBytes, groupBytes, nameBytes) <= Self.nameBytesMax,
      Self.fixedBytes + ownerBytes + groupBytes + nameBytes <= length
    else { throw .badField(.descriptorLength) }
    owner = try reader.string(ownerBytes)
    group = try reader.string(groupBytes)
    name = try reader.octets(nameBytes)
    try reader.skip(to: start + length)
  }

  /// Octets of this record.
  public var byteCount: Int {
    (Self.fixedBytes + owner.utf8.count + group.utf8.count + name.count + 7) / 8 * 8
  }

  /// Appends the record; its start must be at a multiple of 8.
  public func emit(into writer: inout SegmentWriter) {
    precondition(
      max(owner.utf8.count, group.utf8.count, name.count) <= Self.nameBytesMax,
      "names in a descriptor have at most 255 octets")
    writer.integer(UInt16(byteCount))
    writer.integer(kind.rawValue)
    writer.integer(attributes.rawValue)
    writer.integer(identity.device)
    writer.integer(identity.inode)
    writer.integer(identity.generation)
    writer.integer(size)
    writer.integer(allocatedBytes)
    writer.integer(modified)
    writer.integer(changed)
    writer.integer(accessed)
    writer.integer(born)
    writer.integer(permissions)
    writer.integer(links)
    writer.integer(context.rawValue)
    writer.integer(deviceNumber)
    writer.integer(nextPosition)
    writer.integer(blockSize)
    writer.integer(UInt16(owner.utf8.count))
    writer.integer(UInt16(group.utf8.count))
    writer.integer(UInt16(name.count))
    writer.integer(UInt16(0))
    writer.integer(UInt32(0))
    writer.octets(owner.utf8)
    writer.octets(group.utf8)
    writer.octets(name)
    writer.pad(to: 8)
  }
}

extension Descriptor: OperationAnswer {
  public init(parsing message: Message) throws(WireError) {
    var reader = SegmentReader(message.segment)
    try self.init(parsing: &reader)
  }

  public var message: Message {
    var writer = SegmentWriter(reserving: byteCount)
    emit(into: &writer)
    return Message(segment: writer.bytes)
  }
}
