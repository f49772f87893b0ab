public import VProtocol

/// The objects below one prefix, for their numbers and their identity.
///
/// A tree is identified by the prefix, not by the manager, whose entity changes with every restart:
/// an object keeps its number over restarts of its manager, of this node and of this host.
public struct Tree: Hashable, Sendable {
  private let seed: UInt64

  package init(prefix: [UInt8]) {
    seed = Self.mix(Name(prefix).stableHash)
  }

  /// The number of an object of this tree: its inode number in Linux.
  ///
  /// `mix` is a bijection, so objects of one device of one tree never share a number; among
  /// 1,000,000 objects of different ones two share a number with probability 3 in 100,000,000.
  public func number(of identity: Descriptor.Identity) -> UInt64 {
    Self.usable(Self.mix(identity.inode ^ Self.mix(seed &+ identity.device)))
  }

  /// readdir skips entries with number 0, and 1 is the root's.
  private static func usable(_ number: UInt64) -> UInt64 { number < 2 ? number + 2 : number }

  /// The finaliser of splitmix64: a bijection in which every input bit moves every output bit.
  private static func mix(_ value: UInt64) -> UInt64 {
    var value = value &+ 0x9E37_79B9_7F4A_7C15
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}
