/// A manager's number for a context it granted; bounded tables may drop it (`invalidContext`).
///
/// 64 bits that cannot be guessed. It is a shared name, no right: every use is checked with the
/// caller's own rights on the object.
public struct ContextID: Hashable, Sendable {
  public var rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// In a request: the manager's root.
  ///
  /// In a descriptor: none was granted.
  public static let none = ContextID(rawValue: 0)
}

/// The standard fields of every request that carries a name (CSNH; ICDCS 1984, CACM 1988).
///
/// The segment starts with the name; interpretation starts at the index, in the context. An empty
/// rest is the context itself.
public struct ContextName: Equatable, Sendable {
  public var context: ContextID
  /// Octets separated by `/`; at most 4,096.
  public var name: [UInt8]
  public var index: Int

  public init(_ context: ContextID, _ name: [UInt8] = [], index: Int = 0) {
    self.context = context
    self.name = name
    self.index = index
  }

  public init(parsing message: Message) throws(WireError) {
    context = ContextID(rawValue: message.mcb.pair(1))
    index = Int(message.mcb[3] >> 16)
    let length = Int(message.mcb[3] & 0xFFFF)
    guard length <= Self.nameBytesMax, index <= length else { throw .badField(.name) }
    guard message.segment.count >= length else {
      throw .truncated(needed: length, found: message.segment.count)
    }
    name = Array(message.segment[..<length])
  }

  /// The part still to be interpreted, without the slash behind the part that was interpreted.
  public var rest: ArraySlice<UInt8> {
    let rest = name[index...]
    return index > 0 && rest.first == UInt8(ascii: "/") ? rest.dropFirst() : rest
  }

  /// `mcb` with the name fields set; the segment is the name and then `more`.
  func message(_ mcb: MessageControlBlock, more: [UInt8] = []) -> Message {
    precondition(name.count <= Self.nameBytesMax, "a name has at most 4,096 octets")
    var mcb = mcb
    mcb.setPair(1, context.rawValue)
    mcb[3] = UInt32(index) << 16 | UInt32(name.count)
    return Message(mcb, segment: more.isEmpty ? name : name + more)
  }

  /// A request with another name.
  ///
  /// Precondition: `message` carries a name.
  public func renaming(_ message: Message) -> Message {
    let length = Int(message.mcb[3] & 0xFFFF)
    return self.message(message.mcb, more: Array(message.segment.dropFirst(length)))
  }

  /// A reader for what follows the name in a segment.
  func readerBehindName(_ message: Message) -> SegmentReader {
    SegmentReader(message.segment, at: name.count)
  }

  /// PATH_MAX of Linux.
  public static let nameBytesMax = 4096
}
