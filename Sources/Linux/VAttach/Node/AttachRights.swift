import VProtocol
import VRuntime

/// What a process may do: it has the rights of one Linux user, or of the node's owner.
struct AttachRights: Sendable {
  var user: String
  /// Root with all of its rights, or the user that the node runs as: may act for any user, as the
  /// node does.
  ///
  /// Root of a container is neither.
  var isOwner: Bool

  /// The highest priority of its clients.
  var priority = Priority.normal

  /// The marks of its clients: never that of the node's mount.
  var marks: Principal.Marks { isOwner ? .fullRoot : [] }

  /// A user's processes may act for that user, or for nobody.
  func mayBe(_ name: String) -> Bool {
    guard Principal.isUser(name) else { return false }
    return isOwner || name == "nobody" || name.utf8.elementsEqual(user.utf8)
  }

  /// Members of restricted groups and of the system's groups are trusted by everybody, and a group
  /// with a name is joined by its group server only: users may join all others.
  func mayJoin(_ group: EntityID) -> Bool {
    isOwner || group.isUnrestrictedGroup && !group.isWellKnownGroup && !group.isNamedGroup
  }

  /// Kernels and directories believe each other; a process must not send as one of them.
  ///
  /// It must also not make other processes keep what it opens: the owner in a request must pass
  /// `isOwner`.
  func maySend(
    _ message: Message, to server: EntityID, namesOwner: (EntityID) -> Bool
  ) -> Bool {
    let code = message.mcb.code
    if server == .managerGroup || server == .manager(of: server.kernel) {
      return code == Management.probeEntity
    }
    let ofDirectories = [SpreadClaims.code, SpreadDigest.code, ClaimName.code]
    if !isOwner && ofDirectories.contains(code) { return false }
    return Self.owner(in: message).map(namesOwner) ?? true
  }

  /// The process whose death is to free what a request opens or gives away; nil if it has none.
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
