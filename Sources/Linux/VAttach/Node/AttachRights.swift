import VProtocol
import VRuntime

/// What a process may do: it is one Linux user, or the node's own.
struct AttachRights: Sendable {
  var user: String
  /// Root with all of its rights, or the user that the node runs as: may speak for any user, as the
  /// node does.
  ///
  /// Root of a container is neither.
  var isOwner: Bool

  /// What its clients may be: never one of the node's mount.
  var marks: Principal.Marks { isOwner ? .fullRoot : [] }

  /// The processes of a user speak for that user, or for nobody at all.
  func mayBe(_ name: String) -> Bool {
    guard Principal.isUser(name) else { return false }
    return isOwner || name == "nobody" || name.utf8.elementsEqual(user.utf8)
  }

  /// Who is in a restricted group or one of the system's is trusted by everybody, and who is in a
  /// group with a name is let in by its board alone: users have the groups that are neither.
  func mayJoin(_ group: EntityID) -> Bool {
    isOwner || group.isUnrestrictedGroup && !group.isWellKnownGroup && !group.isNamedGroup
  }

  /// Kernels and directories take each other's word; a process must not speak as one of them.
  ///
  /// Nor may it have others keep what it opens: an owner that a request names passes `isOwner`.
  func maySend(
    _ message: Message, to server: EntityID, namesOwner: (EntityID) -> Bool
  ) -> Bool {
    let code = message.mcb.code
    if server == .managerGroup || server == .manager(of: server.kernel) {
      return code == Management.probeEntity
    }
    if !isOwner && (code == SpreadClaims.code || code == ClaimName.code) { return false }
    return Self.owner(in: message).map(namesOwner) ?? true
  }

  /// The process whose death is to free what a request opens or hands over; nil if it names none.
  private static func owner(in message: Message) -> EntityID? {
    let word: Int
    switch message.mcb.code {
    case CreateInstance.code: word = CreateInstance.ownerWord
    case ChangeOwner.code: word = ChangeOwner.ownerWord
    default: return nil
    }
    let owner = EntityID(rawValue: message.mcb.pair(word))
    return owner == .none ? nil : owner
  }
}
