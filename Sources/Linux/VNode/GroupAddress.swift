import VProtocol

/// The multicast addresses of groups: hashed onto 16 of 239.192.0.0/14, many groups to one.
///
/// Sixteen memberships stay below Linux's 20 for a socket. The VMTP managers have the first address
/// for themselves; receivers filter on the full group identifier. RFC 2365's local scope, since the
/// RFC 1045 range has become source-specific.
enum GroupAddress {
  static func of(_ group: EntityID) -> UInt32 {
    if group == .managerGroup { return base }
    return base + 1 + group.discriminator % (count - 1)
  }

  private static let base: UInt32 = 0xEFC0_0000
  private static let count: UInt32 = 16
}
