/// What a member of a group may do to its members, and what they may do to it: the permissions of
/// RFC 1045's groups, which each membership has.
public struct MembershipPermissions: OptionSet, Hashable, Sendable {
  public var rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Removes any member, whatever its permissions are.
  public static let manager = Self(rawValue: 0x01)
  public static let removableByItself = Self(rawValue: 0x02)
  public static let removableBySamePrincipal = Self(rawValue: 0x04)
  public static let removableByOthers = Self(rawValue: 0x08)
  public static let addsSamePrincipal = Self(rawValue: 0x10)
  public static let addsOthers = Self(rawValue: 0x20)
  public static let removesSamePrincipal = Self(rawValue: 0x40)
  public static let removesOthers = Self(rawValue: 0x80)

  /// Those of the group's creator.
  public static let all = Self(rawValue: 0xFF)
  /// Those that anybody may have who adds itself: anybody with the right may remove it.
  public static let usual: Self = [
    .removableByItself, .removableBySamePrincipal, .removableByOthers, .removesSamePrincipal,
  ]

  /// Who a member is to the one who adds or removes it.
  public enum Relation: CaseIterable, Sendable {
    case itself, samePrincipal, other
  }

  /// Whether one with the permissions of `actor` may add a member with these.
  ///
  /// Anyone may add itself to an unrestricted group. No member gets more than the one who adds it
  /// has.
  public func mayBeAdded(by actor: Self, _ relation: Relation, isRestricted: Bool) -> Bool {
    switch relation {
    case .itself, .samePrincipal:
      isRestricted
        ? actor.contains(.addsSamePrincipal) && isSubset(of: actor)
        : isSubset(of: actor.union(.usual))
    case .other: actor.contains(.addsOthers) && isSubset(of: actor)
    }
  }

  /// Whether one with the permissions of `actor` may remove a member with these.
  public func mayBeRemoved(by actor: Self, _ relation: Relation) -> Bool {
    if actor.contains(.manager) { return true }
    return switch relation {
    case .itself: contains(.removableByItself)
    case .samePrincipal:
      contains(.removableBySamePrincipal) && actor.contains(.removesSamePrincipal)
    case .other: contains(.removableByOthers) && actor.contains(.removesOthers)
    }
  }
}
