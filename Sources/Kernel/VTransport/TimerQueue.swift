public import VProtocol

/// Deadlines in order: a binary heap with at most a few entries for each key.
///
/// A key that is armed for a later time than its entry costs nothing: the entry comes up early, its
/// owner gives the real time, and the key is armed again.
///
/// Inlinable, as all generics that a Send uses: unspecialized, its first entry alone costs 300 ns.
public struct TimerQueue<Key: Sendable>: Sendable {
  @usableFromInline var heap: [(time: Time, key: Key)] = []

  @inlinable public init() {}

  @inlinable public var first: Time? { heap.first?.time }
  @inlinable public var count: Int { heap.count }

  @inlinable public mutating func push(_ key: Key, at time: Time) {
    heap.append((time, key))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].time < heap[parent].time else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Drops entries; it looks at every entry, so it must be called seldom.
  public mutating func removeAll(where isStale: (Time, Key) -> Bool) {
    heap.removeAll { isStale($0.time, $0.key) }
    // A sorted list is a heap too.
    heap.sort { $0.time < $1.time }
  }

  /// The earliest entry that is due at `now`, taken out.
  @inlinable public mutating func popDue(at now: Time) -> (time: Time, key: Key)? {
    guard let first = heap.first, first.time <= now else { return nil }
    let last = heap.removeLast()
    if heap.isEmpty { return first }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
        if heap[child].time < heap[least].time { least = child }
      }
      if least == parent { return first }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
