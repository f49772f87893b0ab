package import VObjects
package import VProtocol

/// The data of a group beside its members.
package struct GroupTraits: Equatable, Sendable {
  /// Nanoseconds since 1970.
  package var madeAt: Int64
  /// As `GroupUser` writes it: the same on every host.
  package var owner: String
  package var permissions: UInt32

  package init(madeAt: Int64, owner: String, permissions: UInt32) {
    self.madeAt = madeAt
    self.owner = owner
    self.permissions = permissions
  }

  /// Whether it is the same group, and not another one that was made under its name while their
  /// hosts did not hear each other.
  package func isSame(as other: GroupTraits) -> Bool {
    (madeAt, owner) == (other.madeAt, other.owner)
  }

  /// Of two groups of one name the earlier one stays.
  package func isOlder(than other: GroupTraits) -> Bool {
    madeAt != other.madeAt
      ? madeAt < other.madeAt : owner.utf8.lexicographicallyPrecedes(other.owner.utf8)
  }

  /// The access of the group as an object of a host's tree, with its permissions cut to `mask`.
  package func access(_ mask: UInt32, at host: String) -> TreeAccess {
    TreeAccess(
      owner: GroupUser.local(owner, at: host), permissions: permissions & mask,
      generation: UInt64(bitPattern: madeAt), modified: madeAt)
  }

  /// Whether a caller may send to it and add members.
  ///
  /// Both also need the right to pass: by the group's names they could not be done without it.
  package func mayBeWritten(by caller: Caller, at host: String) -> Bool {
    access(0o777, at: host).rights(of: caller) & 3 == 3
  }

  /// Whether a caller may learn its members.
  package func mayBePassed(by caller: Caller, at host: String) -> Bool {
    access(0o777, at: host).rights(of: caller) & 1 != 0
  }
}

/// How groups write users, the same on every host.
///
/// | user | is written |
/// |---|---|
/// | a user with a name | `NAME`, the same one on every host |
/// | root of a host, with all of its rights | `root@HOST`: of its own host only |
/// | a number without a name | `#N@HOST` |
/// | root of a container | `nobody` |
/// | a user whose name has an `@` | `NAME@HOST`, so that it is none of the above |
package enum GroupUser {
  /// With 64 members of the longest names, one answer has room for all of them.
  package static let bytesMax = 96
  private static let nobody = "nobody"

  /// The sender of a request as this host's group server sees it.
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

  /// The name on every host of the user `user` of this one.
  package static func name(of user: String, at host: String) -> String {
    isLocal(user) ? "\(user)@\(host)" : user
  }

  /// The name of a principal that started something.
  package static func name(of principal: Principal) -> String {
    let isNamed = !isLocal(principal.user) && !principal.user.utf8.contains(UInt8(ascii: "@"))
    return isNamed ? principal.user : "\(principal)"
  }

  /// The user of this host with a name in a group: root, or a number.
  package static func local(_ name: String, at host: String) -> String {
    guard name.hasSuffix("@\(host)") else { return name }
    let user = String(name.dropLast(host.count + 1))
    return isLocal(user) ? user : name
  }

  /// The principal whose share is charged on this host for what belongs to `user`.
  package static func principal(of user: String, at host: String) -> Principal {
    Principal(user) ?? Principal(user: user, host: host, marks: user == "root" ? .fullRoot : [])
  }

  /// The name of a message's sender, for its receiver: root of a container is not shown as root.
  package static func sender(_ principal: Principal) -> String {
    let isLimited = principal.isRoot && !principal.isFullRoot
    return isLimited ? "\(nobody)@\(principal.host)" : "\(principal)"
  }

  /// Whether it is another group server: they ask each other as root of their host.
  package static func isGroupServer(_ principal: Principal) -> Bool {
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
