import VProtocol

/// Work that was given to an entity and is perhaps not finished: a list from which nothing is
/// removed one by one.
///
/// Most messages are answered at once, and an exact list would be written twice for each. This list
/// only grows, and is swept when it has doubled: each entry is checked once or twice in all, and
/// the list has at most little more than twice as many entries as are alive.
struct Backlog<Entry: Sendable>: Sendable {
  private(set) var entries: [Entry] = []
  private var sweepAt = sweepMin

  /// A smaller list is not worth a sweep.
  private static var sweepMin: Int { 32 }

  /// Adds an entry; true if it is time to sweep.
  mutating func add(_ entry: Entry) -> Bool {
    entries.append(entry)
    return entries.count >= sweepAt
  }

  /// Keeps only the entries that are alive, in a new array of their size.
  mutating func keep(_ alive: [Entry]) {
    entries = alive
    sweepAt = max(Self.sweepMin, 2 * alive.count)
  }
}

/// A transaction of a local client that waits for a server or a peer.
struct Waiting: Sendable {
  var client: EntityID
  var transaction: TransactionID
}

/// A request of a remote client that a local server works on.
struct Work: Sendable {
  var key: RecordKey
  var transaction: TransactionID
}
