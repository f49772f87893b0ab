package import VObjects
package import VProtocol

/// What is known of a group beside its members.
package struct GroupTraits: Equatable, Sendable {
  /// Nanoseconds since 1970.
  package var madeAt: Int64
  /// As `GroupUser` names it: the same one on every host.
  package var owner: String
  package var permissions: UInt32

  package init(madeAt: Int64, owner: String, permissions: UInt32) {
    self.madeAt = madeAt
    self.owner = owner
    self.permissions = permissions
  }

  /// One group, and not two that were given one name while their hosts did not hear each other.
  package func isSame(as other: GroupTraits) -> Bool {
    (madeAt, owner) == (other.madeAt, other.owner)
  }

  /// Of two groups of one name the earlier one stays.
  package func isOlder(than other: GroupTraits) -> Bool {
    madeAt != other.madeAt
      ? madeAt < other.madeAt : owner.utf8.lexicographicallyPrecedes(other.owner.utf8)
  }

  /// As an object of a host's tree, as far as `mask` lets its permissions through.
  package func access(_ mask: UInt32, at host: String) -> TreeAccess {
    TreeAccess(
      owner: GroupUser.local(owner, at: host), permissions: permissions & mask,
      generation: UInt64(bitPattern: madeAt), modified: madeAt)
  }

  /// To write is to send, and to add members: by the group's names that takes the right to pass it
  /// too, and a message needs no less.
  package func mayBeWritten(by caller: Caller, at host: String) -> Bool {
    access(0o777, at: host).rights(of: caller) & 3 == 3
  }

  /// To pass is to learn who is in it.
  package func mayBePassed(by caller: Caller, at host: String) -> Bool {
    access(0o777, at: host).rights(of: caller) & 1 != 0
  }
}

/// Who is who in groups, which are the same on every host.
///
/// | who | is known as |
/// |---|---|
/// | a user with a name | `NAME`, the same one on every host |
/// | root of a host, with all of its rights | `root@HOST`: of its own host only |
/// | a number without a name | `#N@HOST` |
/// | root of a container | `nobody` |
/// | a user whose name has an `@` | `NAME@HOST`, so that it is none of the above |
package enum GroupUser {
  /// With 64 members of the longest names one answer holds them all.
  package static let bytesMax = 96
  private static let nobody = "nobody"

  /// As whom this host's board takes the sender of a request.
  package static func caller(of request: Request, at host: String) -> Caller {
    var caller = Caller(request, at: host)
    let principal = caller.principal
    if principal.isRoot && !principal.isFullRoot {
      caller.user = nobody
    } else if principal.user.utf8.contains(UInt8(ascii: "@")) {
      caller.user = "\(principal)"
    }
    return caller
  }

  /// The name on every host of who is `user` on this one.
  package static func name(of user: String, at host: String) -> String {
    isLocal(user) ? "\(user)@\(host)" : user
  }

  /// The name of who started something, as the principal says it.
  package static func name(of principal: Principal) -> String {
    let isNamed = !isLocal(principal.user) && !principal.user.utf8.contains(UInt8(ascii: "@"))
    return isNamed ? principal.user : "\(principal)"
  }

  /// Who of this host has a name, as far as it is one of its own: root, or a number.
  package static func local(_ name: String, at host: String) -> String {
    guard name.hasSuffix("@\(host)") else { return name }
    let user = String(name.dropLast(host.count + 1))
    return isLocal(user) ? user : name
  }

  /// Whom a table of this host is to charge for what belongs to `user` of it.
  package static func principal(of user: String, at host: String) -> Principal {
    Principal(user) ?? Principal(user: user, host: host, marks: user == "root" ? .fullRoot : [])
  }

  /// The name of the sender of a message, for who gets it: root of a container is not passed for
  /// root.
  package static func sender(_ principal: Principal) -> String {
    let isLimited = principal.isRoot && !principal.isFullRoot
    return isLimited ? "\(nobody)@\(principal.host)" : "\(principal)"
  }

  /// Boards ask each other as root of their host.
  package static func isBoard(_ principal: Principal) -> Bool {
    principal.isFullRoot
  }

  /// Whether it is short enough, and one word of a line.
  package static func isName(_ user: String) -> Bool {
    Principal.isName(user) && user.utf8.count <= bytesMax
  }

  private static func isLocal(_ user: String) -> Bool {
    user == "root" || user.hasPrefix("#") && !user.utf8.contains(UInt8(ascii: "@"))
  }
}
