package import VProtocol

/// The bounds of the kernel's tables, each with its reason.
///
/// Tables that other kernels can fill are shared: one kernel has at most three eighths of such a
/// table, as in every table of a server (`ShareLimits`), and no more than it leaves free for all
/// others. So there is always room for the next one.
package enum Limits {
  /// Records of remote clients, each kept 5 s after its answer: 6,144 programs at work have one
  /// kernel's share, which is 100 MB with 16 KB of request or response in each.
  package static let records = 16_384
  /// Probes under way: one for each new client, and some that are repeated.
  package static let probes = 65_536
  /// Nested calls: one for each client whose request was forwarded 15 times.
  ///
  /// Names do not lead so far; a loop of servers does, and then each client that asks it has one
  /// for a few milliseconds.
  package static let nestedCalls = 256
  /// Requests that wait a random time because their clients want many answers: what is beyond that
  /// does not wait.
  package static let postponed = 1024
  /// Kernels known at once: many more than a cluster of this kind has.
  package static let peers = 4096
  /// Kernels probed in one second because their packets could not be opened: a restarted node is
  /// found by it, and a flood of such packets costs little.
  package static let strangersAsked = 10
  /// Kernels that get a copy of a multicast without being configured: a message costs no more
  /// packets, and a larger cluster has a network with multicast.
  package static let copies = 64
  /// Requests of a kernel that has ended whose outcomes are kept for its successor: a mount has at
  /// most so many that are not idempotent under way.
  package static let outcomes = 256
  /// Dead boots remembered for one locator: transactions that waited for older ones have long
  /// ended.
  package static let earlierBoots = 8
  /// Entities that have come to this kernel or left it, which it knows while it runs: more programs
  /// than move in a year.
  package static let moves = 65_536
  /// Entities known to be on other kernels than their own: each is asked for again if forgotten.
  package static let whereabouts = 8192
  /// Clients of one kernel about which others are asked whether they have moved there.
  package static let questions = 256
  /// Entities for which all kernels were asked, while answers may come.
  package static let sought = 64
  /// Entities of a kernel that has ended which are known to be nowhere else.
  package static let absent = 64
  /// Groups of one entity: a server is in one, or in a few if it serves for others.
  package static let groupsOfEntity = 16
  /// Members of one group on one kernel: each of them is given every message to the group.
  package static let membersOfGroup = 1024
  /// Below this number of timer entries, stale ones are not dropped: 200 KB.
  package static let timers = 4096
  /// Numbers tried for a new entity: the search is short, or it fails for now.
  package static let numbersTried = 1024
  /// T of RFC 1045, before which no number is used again: longer than any record, answer or copy of
  /// a packet with an entity lives.
  package static let numberQuarantine = TimeSpan.seconds(900)

  /// Whether a kernel that has `own` of `used` entries of a table may have one more.
  package static func hasRoom(_ own: Int, used: Int, of capacity: Int) -> Bool {
    own < min(capacity * 3 / ShareLimits.hostParts, capacity - used)
  }
}
