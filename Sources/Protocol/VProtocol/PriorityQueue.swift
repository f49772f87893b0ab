/// What waits to be served: the most urgent first, and the oldest first of equally urgent ones.
///
/// So that nothing waits for ever, the oldest of all is served after it was passed over seven times
/// in a row. An element is served at the latest when eight times as many were as were in front of
/// it, itself included.
public struct PriorityQueue<Element: Sendable>: Sendable {
  private struct Entry: Sendable {
    let number: Int
    let element: Element
  }

  /// The elements of one rank, in order; those before `next` are served.
  private struct Lane: Sendable {
    var entries: [Entry?] = []
    var next = 0

    var first: Int? { next < entries.count ? entries[next]?.number : nil }

    mutating func take() -> Element? {
      let entry = entries[next].take()
      next += 1
      // A lane that is never empty would otherwise grow for ever.
      if next == entries.count || next >= 64 && next * 2 >= entries.count {
        entries.removeFirst(next)
        next = 0
      }
      return entry?.element
    }
  }

  private var lanes = [Lane](repeating: Lane(), count: Priority.ranks)
  /// Elements that were added so far.
  private var added = 0
  /// How often in a row another one than the oldest was served.
  private var passes = 0

  /// One turn in eight is the oldest one's: little is lost to those who are in a hurry, and the
  /// others go on.
  package static var passesMax: Int { 7 }

  public private(set) var count = 0
  public var isEmpty: Bool { count == 0 }

  public init() {}

  public mutating func add(_ element: Element, _ priority: Priority) {
    lanes[priority.rank].entries.append(Entry(number: added, element: element))
    added += 1
    count += 1
  }

  /// Removes the next one to be served; nil if none waits that is at least so urgent.
  public mutating func next(atLeast lowest: Priority = .guest) -> Element? {
    var urgent: Int?
    var oldest: (lane: Int, number: Int)?
    for lane in 0...lowest.rank {
      guard let number = lanes[lane].first else { continue }
      if urgent == nil { urgent = lane }
      if number < oldest?.number ?? .max { oldest = (lane, number) }
    }
    guard let urgent, let oldest else { return nil }
    let isOldests = urgent == oldest.lane || passes == Self.passesMax
    passes = isOldests ? 0 : passes + 1
    count -= 1
    return lanes[isOldests ? oldest.lane : urgent].take()
  }
}
