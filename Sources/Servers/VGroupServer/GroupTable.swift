package import VProtocol
import VRuntime

/// The groups of one group server: those that were made here, and those that have members here.
///
/// A group that was made elsewhere is kept as long as it has members here, and for some time after
/// that: so it outlives its maker, and its members, and their last answers can be read. Its data
/// when its first member joined are used for the messages to its members: other group servers
/// cannot change them.
/// changes that.
package struct GroupTable: Sendable {
  package struct Group: Sendable {
    package var about: GroupTraits
    package var isMadeHere: Bool
    /// The principal whose share it counts in.
    package var payer: Principal
    /// When this group server last asked the others for it.
    package var lookedAt: Time?
    /// Since when a group that was made elsewhere has no members.
    package var idleSince: Time?
    /// By their whole names.
    package var members: [Name: GroupMember] = [:]
  }

  package private(set) var groups: [Name: Group] = [:]
  private var groupShares: Shares
  private var memberShares: Shares
  private let host: String

  /// So many names fit into one answer.
  package static let groupsMax = 200
  /// So many members fit into one answer; users who do not own the group leave a quarter to its
  /// owner.
  package static let membersMax = 64
  package static let strangersMax = membersMax * 3 / 4
  /// Four users who do not own a group can join, and none can keep the others out.
  package static let strangerMembersMax = membersMax / 4
  /// Members of all groups: each is an entity, and may be a mailbox.
  package static let allMembersMax = 4096

  package init(host: String) {
    self.host = host
    groupShares = Shares(capacity: Self.groupsMax, ownHost: host)
    memberShares = Shares(capacity: Self.allMembersMax, ownHost: host)
  }

  package mutating func make(_ name: Name, _ about: GroupTraits, by maker: Principal) -> Refusal? {
    if let refusal = Self.refusal(ofGroup: name) ?? Self.refusal(ofOwner: about.owner) {
      return refusal
    }
    if let known = groups[name] {
      guard known.idleSince != nil, known.about.owner == about.owner else {
        return Refusal(.duplicateName, "\(name) is a group of \(host) already")
      }
      forget(name)
    }
    guard takeGroup(for: maker) else { return tooManyGroups(maker) }
    groups[name] = Group(about: about, isMadeHere: true, payer: maker)
    return nil
  }

  /// Removes a group that was made here.
  package mutating func remove(_ name: Name) -> Refusal? {
    guard let group = groups[name] else { return GroupServer.noGroup(name) }
    guard group.members.isEmpty else {
      return Refusal(.contextNotEmpty, "\(name) has members on \(host)")
    }
    forget(name)
    return nil
  }

  /// `about` has the data of the group, for a group server that does not know it yet.
  package mutating func join(_ name: Name, _ about: GroupTraits, _ member: GroupMember) -> Refusal?
  {
    if let refusal = Self.refusal(ofGroup: name) ?? Self.refusal(ofOwner: member.owner) {
      return refusal
    }
    let known = groups[name]
    if let known, let refusal = refusal(of: member, in: known, name) { return refusal }
    guard memberShares.take(member.payer) else {
      return Refusal(.noServerResources, "\(member.payer) has too many members on \(host)")
    }
    if known == nil {
      guard takeGroup(for: member.payer) else {
        memberShares.give(member.payer)
        return tooManyGroups(member.payer)
      }
      groups[name] = Group(about: about, isMadeHere: false, payer: member.payer)
    }
    groups[name]?.members[member.name] = member
    groups[name]?.idleSince = nil
    return nil
  }

  package mutating func leave(_ name: Name, _ member: Name, at now: Time) -> GroupMember? {
    guard let left = groups[name]?.members.removeValue(forKey: member), let group = groups[name]
    else { return nil }
    memberShares.give(left.payer)
    guard !group.isMadeHere else { return left }
    if group.members.isEmpty {
      groups[name]?.idleSince = now
    } else if !group.members.values.contains(where: { $0.payer == group.payer }),
      let next = group.members.values.first(where: { groupShares.take($0.payer) })
    {
      // If a principal's members have left, it is no longer charged for those of others.
      groupShares.give(group.payer)
      groups[name]?.payer = next.payer
    }
    return left
  }

  /// How often, at most, other group servers' questions for a group that is here make this one
  /// look.
  private static let lookInterval = TimeSpan.seconds(5)

  package mutating func noteLook(at name: Name, _ now: Time) { groups[name]?.lookedAt = now }

  package func isLookDue(at name: Name, _ now: Time) -> Bool {
    guard let group = groups[name] else { return false }
    return group.lookedAt.map { now - $0 >= Self.lookInterval } ?? true
  }

  /// How long a group without members that was made elsewhere is kept.
  package static let idleAge = TimeSpan.seconds(300)

  /// Drops groups that have been without members for long.
  package mutating func forgetIdle(at now: Time) {
    for (name, group) in groups {
      if let since = group.idleSince, now - since >= Self.idleAge { forget(name) }
    }
  }

  /// If a principal has used up its share, its group that has been idle longest is dropped.
  private mutating func takeGroup(for payer: Principal) -> Bool {
    if groupShares.take(payer) { return true }
    let idle = groups.compactMap { name, group -> (since: Time, name: Name)? in
      guard let since = group.idleSince, groupShares.isSamePayer(group.payer, payer) else {
        return nil
      }
      return (since, name)
    }
    guard let oldest = idle.min(by: { ($0.since, $0.name) < ($1.since, $1.name) }) else {
      return false
    }
    forget(oldest.name)
    return groupShares.take(payer)
  }

  private mutating func forget(_ name: Name) {
    guard let group = groups.removeValue(forKey: name) else { return }
    groupShares.give(group.payer)
  }

  /// Ends a group that was made while an older one of its name was not heard; returns its members.
  package mutating func end(_ name: Name, for other: GroupTraits) -> [GroupMember] {
    guard let group = groups[name], other.isOlder(than: group.about) else { return [] }
    for member in group.members.values { memberShares.give(member.payer) }
    forget(name)
    return Array(group.members.values)
  }
}

// MARK: - Refusals

extension GroupTable {
  /// The reason for refusing one more member of a group that is here.
  private func refusal(of member: GroupMember, in group: Group, _ name: Name) -> Refusal? {
    guard group.members[member.name] == nil else {
      return Refusal(.duplicateName, "\(member.name) is a member of \(name)")
    }
    let isFull = Refusal(.noServerResources, "\(name) has no room for more members of \(host)")
    guard group.members.count < Self.membersMax else { return isFull }
    guard member.owner != group.about.owner else { return nil }
    let strangers = group.members.values.filter { $0.owner != group.about.owner }
    guard strangers.count < Self.strangersMax,
      strangers.count(where: { $0.owner == member.owner }) < Self.strangerMembersMax
    else { return isFull }
    return nil
  }

  package static func refusal(ofGroup name: Name) -> Refusal? {
    guard !WellKnownGroup.all.contains(where: { $0.name == name }) else {
      return Refusal(.duplicateName, "\(name) is a part of the system")
    }
    if name.isGroupName { return nil }
    return Refusal(
      .badArguments,
      "the name of a group has at most \(Name.groupBytesMax) octets, no blank, no colon, "
        + "no dot in front")
  }

  /// Every user name of Linux is shorter than that.
  private static func refusal(ofOwner owner: String) -> Refusal? {
    GroupUser.isName(owner)
      ? nil : Refusal(.badArguments, "the name of the user is too long for groups")
  }

  private func tooManyGroups(_ principal: Principal) -> Refusal {
    Refusal(.noServerResources, "\(principal) has too many groups on \(host)")
  }
}

// MARK: - Members

/// A process of this host that is in a group.
package struct GroupMember: Sendable {
  package enum Receiver: Sendable {
    case mailbox(Mailbox)
    /// The program's own entity.
    case program(EntityID)
  }

  /// Of a mailbox none.
  var program: EntityID {
    if case .program(let entity) = receiver { entity } else { .none }
  }

  /// `HOST:NAME`.
  package var name: Name
  /// As `GroupUser` writes it.
  package var owner: String
  /// The principal whose share of this group server it counts in.
  package var payer: Principal
  package var permissions: MembershipPermissions
  /// The process that has joined the group.
  package var entity: EntityID
  package var receiver: Receiver

  package init(
    name: Name, owner: String, payer: Principal, permissions: MembershipPermissions = .usual,
    entity: EntityID, receiver: Receiver
  ) {
    self.name = name
    self.owner = owner
    self.payer = payer
    self.permissions = permissions
    self.entity = entity
    self.receiver = receiver
  }
}

/// The name of a member: `NAME`, or `HOST:NAME` for any host.
package struct MemberName: Equatable, Sendable {
  package var host: String
  package var name: Name

  package init(_ text: Name, on host: String) {
    let colon = UInt8(ascii: ":")
    guard let split = text.octets.firstIndex(of: colon) else {
      (self.host, name) = (host, text)
      return
    }
    // A host that is not UTF-8 cannot exist, and is refused.
    self.host = String(validating: text.octets[..<split], as: UTF8.self) ?? ""
    name = Name(text.octets[(split + 1)...])
  }

  package var whole: Name { Name(Array("\(host):".utf8) + name.octets) }

  /// `NUMBER.PROGRAM` is a program, everything else a mailbox.
  package var isProgram: Bool {
    guard let dot = name.octets.firstIndex(of: UInt8(ascii: ".")), dot > 0,
      dot < name.octets.count - 1
    else { return false }
    return Int32(String(decoding: name.octets[..<dot], as: UTF8.self)) != nil
  }

  package var refusal: Refusal? {
    let isSound =
      Principal.isName(host) && !host.utf8.contains { $0 == UInt8(ascii: ":") || $0 == 0x2F }
      && name.isMemberName && whole.octets.count <= Name.memberBytesMax
    return isSound
      ? nil : Refusal(.badArguments, "a member is NAME, or HOST:NUMBER.PROGRAM, which is a program")
  }
}
