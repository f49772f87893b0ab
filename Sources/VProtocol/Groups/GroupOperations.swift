/// The operations of groups that have a name: interface 0x0016.
extension EntityID {
  /// The group boards of all nodes.
  public static let groupManagerGroup = EntityID(
    group: 0x16, low: wellKnownLow, isUnrestricted: true)

  /// The group of a name: the low 59 bits of its hash (FNV-1a), so that no host keeps a table, and
  /// before them the bit that all groups with a name have and no other.
  public init(groupNamed name: String) {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in name.utf8 { hash = (hash ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
    // The half that all well-known groups have is none of a name.
    if UInt32(truncatingIfNeeded: hash) == Self.wellKnownLow { hash ^= 1 }
    hash |= Self.namedBit
    self.init(
      group: UInt32(truncatingIfNeeded: hash >> 32), low: UInt32(truncatingIfNeeded: hash),
      isUnrestricted: true)
  }
}

/// A message to the members of a group, each of which answers; or to one program alone.
public struct GroupMessage: Operation {
  public static let code: UInt32 = 0x001601

  /// The client's principal; another one is believed only from root of the receiver's own host,
  /// who hands messages on.
  public var sender: String
  public var text: String
  public init(sender: String, text: String) {
    self.sender = sender
    self.text = text
  }
  public init(parsing message: Message) throws(WireError) {
    var reader = SegmentReader(message.segment)
    sender = try reader.text()
    text = try reader.string(reader.remaining)
    guard text.utf8.count <= Self.textBytesMax else { throw .badField(.operation) }
  }
  public var message: Message { Message(Self.request, segment: texts([sender]) + text.utf8) }

  /// With its sender it fits into one packet, so that one loss is one member's.
  public static let textBytesMax = 700

  public struct Answer: OperationAnswer {
    /// What became of it at the member.
    public var outcome: ReplyCode
    public var member: String
    /// What the member says.
    public var words: String
    public init(_ outcome: ReplyCode, member: String, words: String) {
      self.outcome = outcome
      self.member = member
      self.words = words
    }
    public init(parsing message: Message) throws(WireError) {
      outcome = ReplyCode(rawValue: message.mcb[1])
      var reader = SegmentReader(message.segment)
      member = try reader.text()
      words = try reader.string(reader.remaining)
    }
    public var message: Message {
      Message(Self.answer.word(1, outcome.rawValue), segment: texts([member]) + words.utf8)
    }
  }
}

/// Asks the group boards for a group: each answers what it has of it, or `notFound`.
public struct QueryGroup: Operation {
  public static let code: UInt32 = 0x001602
  public static let isIdempotent = true

  /// Empty for the names of all groups, which are the members of the answer then.
  public var name: String
  public init(_ name: String) { self.name = name }
  public init(parsing message: Message) throws(WireError) { name = try message.text() }
  public var message: Message { Message(Self.request, segment: Array(name.utf8)) }

  public struct Member: Hashable, Sendable {
    public var name: String
    public var owner: String
    public init(_ name: String, owner: String) {
      self.name = name
      self.owner = owner
    }
  }

  public struct Answer: OperationAnswer {
    public var host: String
    /// When the group was made, in nanoseconds since 1970.
    public var madeAt: Int64 = 0
    public var owner = ""
    public var permissions: UInt32 = 0
    /// Those of that host.
    public var members: [Member] = []
    public init(host: String) { self.host = host }
    public init(parsing message: Message) throws(WireError) {
      var reader = SegmentReader(message.segment)
      self.init(host: try reader.text())
      madeAt = Int64(bitPattern: message.mcb.pair(1))
      permissions = message.mcb[3]
      owner = try reader.text()
      while reader.remaining > 0 {
        members.append(Member(try reader.text(), owner: try reader.text()))
      }
    }
    public var message: Message {
      Message(
        Self.answer.pair(1, UInt64(bitPattern: madeAt)).word(3, permissions),
        segment: texts([host, owner] + members.flatMap { [$0.name, $0.owner] }))
    }
  }
}

/// A change that one group board makes: that of the host it names.
public struct ChangeGroup: Operation {
  public enum Change: UInt32, Sendable {
    case join = 1
    case leave, remove
  }
  public static let code: UInt32 = 0x001603

  public var change: Change
  public var group: String
  public var host: String
  public var member = ""
  /// Of the member; believed from root of that host alone.
  public var owner = ""
  /// The program that is the member, where its manager says so.
  public var program = EntityID.none
  public init(_ change: Change, _ group: String, host: String) {
    self.change = change
    self.group = group
    self.host = host
  }
  public init(parsing message: Message) throws(WireError) {
    guard let change = Change(rawValue: message.mcb[1]) else { throw .badField(.operation) }
    var reader = SegmentReader(message.segment)
    self.init(change, try reader.text(), host: try reader.text())
    member = try reader.text()
    owner = try reader.text()
    program = EntityID(rawValue: message.mcb.pair(3))
  }
  public var message: Message {
    Message(
      Self.request.word(1, change.rawValue).pair(3, program.rawValue),
      segment: texts([group, host, member, owner]))
  }
}

private func texts(_ values: [String]) -> [UInt8] {
  var writer = SegmentWriter()
  for value in values { writer.text(value) }
  return writer.bytes
}
