import VProtocol

/// What was handed to somebody and is perhaps not finished: a list that nothing is crossed out of.
///
/// Most messages are answered at once, so that an exact list would be written twice for each. This
/// one only grows, and is swept when it has doubled: each entry is looked at once or twice in all,
/// and it has never more than twice as many as are alive, and a few.
struct Backlog<Entry: Sendable>: Sendable {
  private(set) var entries: [Entry] = []
  private var sweepAt = sweepMin

  /// Below this a sweep is not worth its start.
  private static var sweepMin: Int { 32 }

  /// Adds an entry; whether it is time to sweep.
  mutating func add(_ entry: Entry) -> Bool {
    entries.append(entry)
    return entries.count >= sweepAt
  }

  /// Goes on with those entries that are alive, in a new array: it is as large as they are.
  mutating func keep(_ alive: [Entry]) {
    entries = alive
    sweepAt = max(Self.sweepMin, 2 * alive.count)
  }
}

/// A transaction of a local client that waits for somebody.
struct Waiting: Sendable {
  var client: EntityID
  var transaction: TransactionID
}

/// A request of a remote client that a local server works on.
struct Work: Sendable {
  var key: RecordKey
  var transaction: TransactionID
}
