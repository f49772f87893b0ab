import Synchronization
import VObjects
import VProtocol
import VRuntime

/// Who may add and remove members: what each membership lets (`MembershipPermissions`).
extension GroupServer {
  /// The permissions that a caller has in a group: all for its owner and for root of this host,
  /// else those of its members here.
  func authority(
    of caller: Caller, in group: Name, _ about: GroupTraits
  ) -> MembershipPermissions {
    let user = GroupUser.name(of: caller.user, at: backplane.host)
    if caller.isRoot || about.owner == user { return .all }
    return table.withLock { table in
      table.groups[group]?.members.values.filter { $0.owner == user }
        .reduce([]) { $0.union($1.permissions) } ?? []
    }
  }

  /// The permissions of a new member, as asked for or as usual; nil if the caller may not add it.
  ///
  /// A group is unrestricted for those who may write to it.
  func permissions(
    of change: ChangeGroup, by caller: Caller, _ about: GroupTraits,
    _ relation: MembershipPermissions.Relation
  ) -> MembershipPermissions? {
    let actor = authority(of: caller, in: change.group, about)
    let isRestricted = !about.mayBeWritten(by: caller, at: backplane.host)
    let usual = MembershipPermissions.usual
    let wanted = change.permissions ?? (isRestricted ? usual.intersection(actor) : usual)
    return wanted.mayBeAdded(by: actor, relation, isRestricted: isRestricted) ? wanted : nil
  }
}

extension GroupMember {
  /// What it is to a user who wants to remove it: a mailbox has no process beside its user.
  func relation(to user: String) -> MembershipPermissions.Relation {
    guard owner == user else { return .other }
    if case .mailbox = receiver { return .itself }
    return .samePrincipal
  }
}
