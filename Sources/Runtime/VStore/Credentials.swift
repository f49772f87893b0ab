/// The Linux user and groups that an operation is done as.
public struct Credentials: Hashable, Sendable {
  public var uid: UInt32
  public var gid: UInt32
  /// Supplementary groups.
  public var groups: [UInt32]

  public init(uid: UInt32, gid: UInt32, groups: [UInt32] = []) {
    self.uid = uid
    self.gid = gid
    self.groups = groups
  }

  public var isRoot: Bool { uid == 0 }
  /// Whether guests may act as this user: it has neither root's rights nor those of nobody.
  public var canBeGuest: Bool { !isRoot && uid != Self.nobody.uid }

  public static let root = Credentials(uid: 0, gid: 0)
  /// Nobody, for users that are unknown: Linux's overflow user.
  public static let nobody = Credentials(uid: 65534, gid: 65534)
}
