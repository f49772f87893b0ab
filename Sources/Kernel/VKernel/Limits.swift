import VProtocol

/// The numbers of the kernel's tables, each with its reason.
///
/// What other kernels can fill is shared: one of them has at most three eighths of such a table, as
/// in every table of a server (`ShareLimits`), and no more than it leaves to all others: there is
/// always room for the next one.
enum Limits {
  /// Records of remote clients, each kept 5 s after its answer: 6,144 programs at work have one
  /// kernel's share, which is 100 MB with 16 KB of request or response in each.
  static let records = 16_384
  /// Probes under way: one for each new client, and some that are repeated.
  static let probes = 65_536
  /// Kernels known at once: far more than a cluster of this kind has.
  static let peers = 4096
  /// Kernels a second that are asked who they are because a packet of theirs could not be opened:
  /// a node that was started anew is found by it, and a flood of such packets costs little.
  static let strangersAsked = 10
  /// Earlier boots of one place that are known to be dead: what waited for them has long been told.
  static let earlierBoots = 8
  /// Groups of one entity: a server is in one, or in a few where it listens for others.
  static let groupsOfEntity = 16
  /// Members of one group on one kernel: each of them is given every message to the group.
  static let membersOfGroup = 1024
  /// Entries of the timer queue among which stale ones are not looked for: 200 KB.
  static let timers = 4096
  /// Numbers looked at for a new entity: the search is short, or it ends for this time.
  static let numbersTried = 1024
  /// T of RFC 1045, before which no number is used again: longer than any record, answer or copy of
  /// a packet that names an entity lives.
  static let numberQuarantine = TimeSpan.seconds(900)

  /// Whether a kernel that has `own` of `used` entries of a table may have one more.
  static func hasRoom(_ own: Int, used: Int, of capacity: Int) -> Bool {
    own < min(capacity * 3 / ShareLimits.hostParts, capacity - used)
  }
}
