/// Reads one extended attribute of an object.
///
/// `noAttribute` if the object has none of that name, `notSupported` for a name under which the
/// manager keeps no attributes.
public struct QueryAttribute: Operation {
  public typealias Answer = Octets
  public static let code: UInt32 = 0x00100D
  public static let isIdempotent = true

  public var name: ContextName
  public var attribute: [UInt8]

  public init(_ name: ContextName, attribute: [UInt8]) {
    self.name = name
    self.attribute = attribute
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    var reader = name.readerBehindName(message)
    attribute = try reader.octets(reader.remaining)
  }
  public var message: Message { name.message(Self.request, more: attribute) }
}

/// Lists the names of an object's extended attributes, each with a zero octet behind it.
public struct ListAttributes: NameOperation {
  public typealias Answer = Octets
  public static let code: UInt32 = 0x00100E
  public static let isIdempotent = true

  public var name: ContextName
  public init(_ name: ContextName) { self.name = name }
}

/// Sets or removes an extended attribute.
public struct ChangeAttribute: Operation {
  public static let code: UInt32 = 0x00100F

  public enum Change: Equatable, Sendable {
    case set([UInt8])
    /// Only if there is none.
    case create([UInt8])
    /// Only if there is one.
    case replace([UInt8])
    case remove
  }

  public var name: ContextName
  public var attribute: [UInt8]
  public var change: Change

  public init(_ name: ContextName, attribute: [UInt8], _ change: Change) {
    self.name = name
    self.attribute = attribute
    self.change = change
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    var reader = name.readerBehindName(message)
    attribute = try reader.octets(Int(reader.integer(UInt16.self)))
    let value = try reader.octets(reader.remaining)
    switch message.mcb[4] {
    case 0: change = .set(value)
    case 1: change = .create(value)
    case 2: change = .replace(value)
    case 3: change = .remove
    default: throw .badField(.operation)
    }
  }
  public var message: Message {
    let (how, value): (UInt32, [UInt8]) =
      switch change {
      case .set(let value): (0, value)
      case .create(let value): (1, value)
      case .replace(let value): (2, value)
      case .remove: (3, [])
      }
    var writer = SegmentWriter(reserving: 2 + attribute.count + value.count)
    writer.integer(UInt16(attribute.count))
    writer.octets(attribute)
    writer.octets(value)
    return name.message(Self.request.word(4, how), more: writer.bytes)
  }

  /// Linux's limit for the name of an attribute; the rest of a segment is the limit for its value.
  public static let attributeBytesMax = 255
  public static let valueBytesMax = 16_000
}
