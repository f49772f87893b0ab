import VProtocol

/// The bounds of a directory, shared among principals by `Shares`; that of the table of claims is
/// `Claim.claimsMax`.
package enum DirectoryLimits {
  /// Claims of one kernel, and the part of the table that is reserved for this host: a host's
  /// configuration can have at most 64 exports and eight other servers.
  ///
  /// Six other kernels can fill the rest; the prefixes of a host that claims more are found by
  /// asking.
  package static let claimsOfOneMax = 72
  /// Unknown names that are asked for at once.
  ///
  /// Each is a packet to every host, repeated until it is answered or 200 ms have passed. One
  /// user's 16 make 80 questions a second.
  package static let searchesMax = 64
  /// Names known to be absent at once: one user's share is what 16 questions at once find in 3 s.
  package static let absentMax = 1024
  /// Hosts that had a prefix which was refused; people read that once.
  static let holdersMax = 128
  /// How often a host that asks all others for their claims is answered: the answer of every host
  /// is as long as its table.
  static let answerInterval = TimeSpan.seconds(1)
}
