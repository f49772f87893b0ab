import VObjects
import VProtocol

/// What one board has: the groups that were made here, and those that have members here.
///
/// A group that others made is known as long as it has members here, so that it outlives its maker.
struct GroupTable: Sendable {
  struct Group: Sendable {
    var about: GroupTraits
    var isMadeHere: Bool
    /// By their whole names.
    var members: [String: GroupMember] = [:]
  }

  private(set) var groups: [String: Group] = [:]

  /// So many names fit into one answer.
  static let groupsMax = 200
  static let membersMax = 64
  static let nameBytesMax = 64
  /// A host, a number, and a program of 32 octets.
  static let memberBytesMax = 120

  mutating func make(_ name: String, _ about: GroupTraits) -> Refusal? {
    if let refusal = Self.refusal(ofGroup: name) { return refusal }
    guard groups[name]?.isMadeHere != true else { return Refusal(.duplicateName) }
    guard groups.count < Self.groupsMax else {
      return Refusal(.noServerResources, "this host has \(Self.groupsMax) groups")
    }
    groups[name, default: Group(about: about, isMadeHere: true)].isMadeHere = true
    return nil
  }

  /// Forgets a group that was made here.
  mutating func remove(_ name: String) -> Refusal? {
    guard let group = groups[name] else { return Refusal(.notFound) }
    guard group.members.isEmpty else {
      return Refusal(.contextNotEmpty, "\(name) has members")
    }
    groups[name] = nil
    return nil
  }

  /// `about` says what the group is, where this board does not know it yet.
  mutating func join(_ name: String, _ about: GroupTraits, _ member: GroupMember) -> Refusal? {
    let group = groups[name] ?? Group(about: about, isMadeHere: false)
    guard group.members[member.name] == nil else {
      return Refusal(.duplicateName, "\(member.name) is a member of \(name)")
    }
    guard group.members.count < Self.membersMax else {
      return Refusal(.noServerResources, "\(name) has \(Self.membersMax) members of this host")
    }
    guard groups[name] != nil || groups.count < Self.groupsMax else {
      return Refusal(.noServerResources, "this host has \(Self.groupsMax) groups")
    }
    groups[name] = group
    groups[name]?.members[member.name] = member
    return nil
  }

  mutating func leave(_ name: String, _ member: String) -> GroupMember? {
    guard let left = groups[name]?.members.removeValue(forKey: member) else { return nil }
    if let group = groups[name], group.members.isEmpty, !group.isMadeHere { groups[name] = nil }
    return left
  }

  static func refusal(ofGroup name: String) -> Refusal? {
    let isSound =
      !name.isEmpty && name.utf8.count <= nameBytesMax && name.first != "."
      && name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7F && $0 != ":" }
    if isSound { return nil }
    return Refusal(
      .badArguments,
      "the name of a group has at most \(nameBytesMax) octets, no blank, no colon, no dot in front")
  }
}

/// What is known of a group beside its members.
struct GroupTraits: Equatable, Sendable {
  /// Nanoseconds since 1970.
  var madeAt: Int64
  /// A user, the same one on every host.
  var owner: String
  var permissions: UInt32
}

/// A process of this host that is in a group.
struct GroupMember: Sendable {
  enum Receiver: Sendable {
    case mailbox(Mailbox)
    /// The program's own entity.
    case program(EntityID)
  }

  /// `HOST:NAME`.
  var name: String
  var owner: String
  /// The process that has joined the group.
  var entity: EntityID
  var receiver: Receiver
}

/// The name of a member: `NAME`, or `HOST:NAME` for any host.
struct MemberName: Equatable, Sendable {
  var host: String
  var name: String

  init(_ text: String, on host: String) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    self.host = parts.count == 2 ? String(parts[0]) : host
    name = String(parts.last ?? "")
  }

  var whole: String { "\(host):\(name)" }

  /// `NUMBER.PROGRAM` is a program, everything else a mailbox.
  var isProgram: Bool {
    let parts = name.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    return parts.count == 2 && !parts[1].isEmpty && Int32(parts[0]) != nil
  }

  var refusal: Refusal? {
    let isSound =
      !host.isEmpty && !name.isEmpty && whole.utf8.count <= GroupTable.memberBytesMax
      && name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && $0 != ":" }
    return isSound
      ? nil : Refusal(.badArguments, "a member is NAME, or HOST:NUMBER.PROGRAM, which is a program")
  }
}

/// A group as all boards that have it see it together.
struct GroupView: Sendable {
  var about: GroupTraits
  /// Members with their whole names.
  var members: [QueryGroup.Member]
  /// Every host that has the group, in order of name.
  var hosts: [String]

  /// Nil where no board has the group.
  init?(_ answers: [QueryGroup.Answer]) {
    guard let first = answers.min(by: { ($0.madeAt, $0.host) < ($1.madeAt, $1.host) }) else {
      return nil
    }
    about = GroupTraits(madeAt: first.madeAt, owner: first.owner, permissions: first.permissions)
    members = answers.flatMap(\.members).sorted { $0.name < $1.name }
    hosts = answers.map(\.host).sorted()
  }

  /// A group of which only the name is known.
  static func named(in answer: String) -> GroupView {
    var empty = QueryGroup.Answer(host: answer)
    empty.permissions = 0o755
    return GroupView([empty])!
  }

  /// To write is to send, and to add members.
  func mayBeWritten(by caller: TreeCaller) -> Bool { access(0o777).rights(of: caller) & 2 != 0 }

  func access(_ mask: UInt32) -> TreeAccess {
    TreeAccess(
      owner: about.owner, permissions: about.permissions & mask,
      generation: UInt64(bitPattern: about.madeAt), modified: about.madeAt)
  }
}
