/// The Linux identity that an operation is done as.
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
  /// Strangers may be taken for this user, who has neither root's rights nor those of all who
  /// cannot be told.
  public var canBeGuest: Bool { !isRoot && uid != Self.nobody.uid }

  public static let root = Credentials(uid: 0, gid: 0)
  /// Whoever cannot be told: Linux's overflow user.
  public static let nobody = Credentials(uid: 65534, gid: 65534)
}
