/// At most a number of events in any second; it remembers the times of the last ones.
public struct RateLimit: Sendable {
  private let count: Int
  /// The times of the last events; once there are `count`, the oldest is at `next`.
  private var times: [Time] = []
  private var next = 0

  private static let window = TimeSpan.seconds(1)

  /// `count` events in a second, at least one.
  public init(perSecond count: Int) {
    precondition(count > 0, "a limit that lets something through")
    self.count = count
  }

  /// Takes one more event at `now`; false if there were too many.
  public mutating func take(at now: Time) -> Bool {
    if times.count < count {
      times.append(now)
      return true
    }
    guard times[next] + Self.window <= now else { return false }
    times[next] = now
    next = (next + 1) % count
    return true
  }
}
