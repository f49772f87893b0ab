import VProtocol

/// The multicast addresses of groups: hashed onto 16 of 239.192.0.0/14 and of ff18::9045:0/112,
/// many groups to one.
///
/// Sixteen memberships stay below Linux's 20 for a socket. The VMTP managers have the first address
/// for themselves; receivers filter on the full group identifier. RFC 2365's local scope, since the
/// RFC 1045 range has become source-specific, and the same scope of IPv6 (RFC 4291), with a number
/// of those that RFC 3307 leaves to hosts.
enum GroupAddress {
  /// The number of a group's address, 0 to 15.
  static func number(of group: EntityID) -> UInt32 {
    group == .managerGroup ? 0 : 1 + group.discriminator % (count - 1)
  }

  /// The addresses with a number that a network has: of IPv4, IPv6, or both.
  static func addresses(_ number: UInt32, in network: Network) -> [IPAddress] {
    (network.hasIPv4 ? [IPAddress(ipv4: 0xEFC0_0000 + number)] : [])
      + (network.hasIPv6 ? [IPAddress(high: 0xFF18 << 48, low: 0x9045_0000 + UInt64(number))] : [])
  }

  private static let count: UInt32 = 16
}
