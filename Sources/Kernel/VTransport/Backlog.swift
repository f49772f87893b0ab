package import VProtocol

/// Work that was given to an entity and is perhaps not finished: a list from which nothing is
/// removed one by one.
///
/// Most messages are answered at once, and an exact list would be written twice for each. This list
/// only grows, and is swept when it has doubled: each entry is checked once or twice in all, and
/// the list has at most little more than twice as many entries as are alive.
///
/// Inlinable, because a Send of the kernel adds to one; and so it is public, because what is only
/// the package's is not inlined.
public struct Backlog<Entry: Sendable>: Sendable {
  @usableFromInline package var entries: [Entry] = []
  @usableFromInline var sweepAt = sweepMin

  /// A smaller list is not worth a sweep.
  @usableFromInline static var sweepMin: Int { 32 }

  @inlinable public init() {}

  /// Adds an entry; true if it is time to sweep.
  @inlinable public mutating func add(_ entry: Entry) -> Bool {
    entries.append(entry)
    return entries.count >= sweepAt
  }

  /// Keeps only the entries that are alive, in a new array of their size.
  @inlinable public mutating func keep(_ alive: [Entry]) {
    entries = alive
    sweepAt = max(Self.sweepMin, 2 * alive.count)
  }
}

/// A transaction of a local client that waits for a server or a peer.
package typealias Waiting = (client: EntityID, transaction: TransactionID)

/// A request of a remote client that a local server works on.
package typealias Work = (key: RecordKey, transaction: TransactionID)
