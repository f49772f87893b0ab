import VProtocol

/// The bounds of a directory, shared among principals as `Shares` says; that of the table of claims
/// is `Claim.claimsMax`.
package enum DirectoryLimits {
  /// Claims that one kernel tells of, and the part of the table that is the own host's alone: 64
  /// exports and eight other servers are as many as a host's configuration can name.
  ///
  /// Six other kernels can fill the rest; a host that claims more is found by asking.
  package static let claimsOfOneMax = 72
  /// Names beyond the table that are asked for at once.
  ///
  /// Each is a packet to every host, which comes again until it is answered or 200 ms have passed.
  /// One user's 16 make 80 questions a second.
  package static let searchesMax = 64
  /// Names believed absent at once: one user's share is what 16 questions at once find in 3 s.
  package static let absentMax = 1024
  /// Hosts that prefixes were refused for; people read that once.
  static let holdersMax = 128
  /// One who asks all others for their claims is answered at once, but not more often than that:
  /// the answer of every host is as long as its table.
  static let answerInterval = TimeSpan.seconds(1)
}
