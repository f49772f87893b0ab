import VProtocol

/// The bounds of a directory, shared among principals by `Shares`; that of the table of claims is
/// `Claim.claimsMax`.
package enum DirectoryLimits {
  /// Claims of one kernel, and the part of the table that is reserved for this host: a host's
  /// configuration can have at most 64 exports and eight other servers.
  ///
  /// A host refuses its own managers more, and others do not list more of it.
  package static let claimsOfOneMax = 72
  /// Claims on other hosts' managers that are known from one kernel only: those of 1,000 hosts, for
  /// a table that was lost, and no more than half of the table.
  package static let hearsayOfOneMax = 4096
  /// Unknown names that are asked for at once.
  ///
  /// Each is a packet to every host, repeated until it is answered or 200 ms have passed. One
  /// user's 16 make 80 questions a second.
  package static let searchesMax = 64
  /// Names known to be absent at once: one user's share is what 16 questions at once find in 3 s.
  package static let absentMax = 1024
  /// Hosts that had a prefix which was refused; people read that once.
  static let holdersMax = 128
  /// Prefixes without room that are remembered, for people.
  static let leftOutMax = 64
}
