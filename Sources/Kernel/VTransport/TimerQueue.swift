public import VProtocol

/// Deadlines in order: a binary heap with at most a few entries for each key.
///
/// A key that is armed later than it already waits costs nothing: its entry comes up early, its
/// owner says when it really wants to be woken, and it is armed again.
public struct TimerQueue<Key: Sendable>: Sendable {
  private var heap: [(time: Time, key: Key)] = []

  public init() {}

  public var first: Time? { heap.first?.time }
  public var count: Int { heap.count }

  public mutating func push(_ key: Key, at time: Time) {
    heap.append((time, key))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].time < heap[parent].time else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Drops entries; it takes as long as there are entries, so it must be done seldom.
  public mutating func removeAll(where isStale: (Time, Key) -> Bool) {
    heap.removeAll { isStale($0.time, $0.key) }
    // In order is a heap too.
    heap.sort { $0.time < $1.time }
  }

  /// The earliest entry that is due at `now`, taken out.
  public mutating func popDue(at now: Time) -> (time: Time, key: Key)? {
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
