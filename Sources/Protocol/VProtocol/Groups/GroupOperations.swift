/// The operations of groups that have a name: interface 0x0016.
extension EntityID {
  /// The group servers of all nodes.
  public static let groupManagerGroup = EntityID(
    group: 0x16, low: wellKnownLow, isUnrestricted: true)

  /// The group of a name: the low 59 bits of the hash of its octets (FNV-1a), so that no host needs
  /// a table, and before them a bit that is set in all groups with a name and in no other.
  public init(groupNamed name: Name) {
    var hash = name.stableHash
    // The low half of the well-known groups is avoided.
    if UInt32(truncatingIfNeeded: hash) == Self.wellKnownLow { hash ^= 1 }
    hash |= Self.namedBit
    self.init(
      group: UInt32(truncatingIfNeeded: hash >> 32), low: UInt32(truncatingIfNeeded: hash),
      isUnrestricted: true)
  }
}

/// A message to the members of a group, or to one program; every member answers.
public struct GroupMessage: Operation {
  public static let code: UInt32 = 0x001601

  /// The client's principal; another one is believed only from root of the receiver's own host,
  /// when a group server passes the message on.
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
    guard text.utf8.count <= Self.textBytesMax, Self.isLine(text) else {
      throw .badField(.operation)
    }
  }

  /// Whether a text is one line without control characters: each line that a reader gets is from
  /// one sender, and it does not control the reader's terminal.
  public static func isLine(_ text: String) -> Bool {
    !text.unicodeScalars.contains {
      ($0.value < 0x20 && $0 != "\t") || 0x7F..<0xA0 ~= $0.value
    }
  }
  public var message: Message { Message(Self.request, segment: fields([sender.utf8]) + text.utf8) }

  /// With its sender it fits into one packet, so that each member's loss is independent.
  public static let textBytesMax = 700

  public struct Answer: OperationAnswer {
    /// The result at the member.
    public var outcome: ReplyCode
    public var member: Name
    /// What the member answers in words.
    public var words: String
    public init(_ outcome: ReplyCode, member: Name, words: String) {
      self.outcome = outcome
      self.member = member
      self.words = words
    }
    public init(parsing message: Message) throws(WireError) {
      outcome = ReplyCode(rawValue: message.mcb[1])
      var reader = SegmentReader(message.segment)
      member = try reader.name()
      words = try reader.string(reader.remaining)
    }
    public var message: Message {
      Message(
        Self.answer.word(1, outcome.rawValue), segment: fields([member.octets]) + words.utf8)
    }
  }
}

/// Asks the group servers for a group: each answers its data, or `notFound`; or `noPermission` if
/// the client may not look into the group and is no group server.
public struct QueryGroup: Operation {
  public static let code: UInt32 = 0x001602
  public static let isIdempotent = true

  /// Empty for the names of all groups, which are then the members in the answer.
  public var name: Name
  public init(_ name: Name) { self.name = name }
  public init(parsing message: Message) throws(WireError) { name = Name(message.segment) }
  public var message: Message { Message(Self.request, segment: name.octets) }

  public struct Member: Hashable, Sendable {
    public var name: Name
    public var owner: String
    /// The program that is the member; none of a mailbox.
    public var program: EntityID
    public init(_ name: Name, owner: String, program: EntityID = .none) {
      self.name = name
      self.owner = owner
      self.program = program
    }
  }

  public struct Answer: OperationAnswer {
    public var host: String
    /// When the group was made, in nanoseconds since 1970.
    public var madeAt: Int64 = 0
    public var owner = ""
    public var permissions: UInt32 = 0
    /// The members of that host.
    public var members: [Member] = []
    public init(host: String) { self.host = host }
    public init(parsing message: Message) throws(WireError) {
      var reader = SegmentReader(message.segment)
      self.init(host: try reader.text())
      madeAt = Int64(bitPattern: message.mcb.pair(1))
      permissions = message.mcb[3]
      owner = try reader.text()
      while reader.remaining > 0 {
        let (name, owner, program) = (try reader.name(), try reader.text(), try reader.text())
        guard let entity = program.isEmpty ? EntityID.none : EntityID(program) else {
          throw .invalidEntity
        }
        members.append(Member(name, owner: owner, program: entity))
      }
    }
    public var message: Message {
      Message(
        Self.answer.pair(1, UInt64(bitPattern: madeAt)).word(3, permissions),
        segment: fields([host.utf8, owner.utf8])
          + members.flatMap {
            let program = $0.program == .none ? "" : "\($0.program)"
            return fields([$0.name.octets, $0.owner.utf8, program.utf8])
          })
    }
  }
}

/// A change that is made by one group server: that of the named host.
public struct ChangeGroup: Operation {
  public enum Change: UInt32, Sendable {
    case join = 1
    case leave, remove
  }
  public static let code: UInt32 = 0x001603

  public var change: Change
  public var group: Name
  public var host: String
  public var member: Name = ""
  /// Of the member; believed from root of that host alone.
  public var owner = ""
  /// The program that is the member, if its manager sends the request.
  public var program = EntityID.none
  /// Of the new member; nil for the usual ones, or those of them that the client can give.
  public var permissions: MembershipPermissions?
  public init(_ change: Change, _ group: Name, host: String) {
    self.change = change
    self.group = group
    self.host = host
  }
  public init(parsing message: Message) throws(WireError) {
    guard let change = Change(rawValue: message.mcb[1]) else { throw .badField(.operation) }
    var reader = SegmentReader(message.segment)
    self.init(change, try reader.name(), host: try reader.text())
    member = try reader.name()
    owner = try reader.text()
    program = EntityID(rawValue: message.mcb.pair(3))
    guard let bits = UInt8(exactly: message.mcb[5]) else { throw .badField(.operation) }
    permissions = bits == 0 ? nil : MembershipPermissions(rawValue: bits)
  }
  public var message: Message {
    Message(
      Self.request.word(1, change.rawValue).pair(3, program.rawValue)
        .word(5, UInt32(permissions?.rawValue ?? 0)),
      segment: fields([group.octets, host.utf8, member.octets, owner.utf8]))
  }
}

extension SegmentReader {
  /// A name behind its length of 16 bits.
  fileprivate mutating func name() throws(WireError) -> Name {
    let count = try integer(UInt16.self)
    return Name(try octets(Int(count)))
  }
}

/// Each with its length of 16 bits in front.
private func fields(_ values: [any Collection<UInt8>]) -> [UInt8] {
  var writer = SegmentWriter()
  for value in values {
    writer.integer(UInt16(value.count))
    writer.octets(value)
  }
  return writer.bytes
}
