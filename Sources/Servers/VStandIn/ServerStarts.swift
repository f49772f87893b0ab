public import VProtocol

/// When a server is started: one at a time, and after a pause if it ends at once again and again.
public struct ServerStarts: Sendable {
  /// One runs, or waits for its pause.
  private var isUnderWay = false
  /// When the last one began, and how often one ended at once.
  private var beganAt: Time?
  private var quickEnds: Int64 = 0

  /// One that ends sooner is broken: it gets more time before it is started again.
  private static let quickEnd = TimeSpan.seconds(1)
  private static let pauseMax = TimeSpan.seconds(60)

  public init() {}

  /// The pause after which one is to be started; nil while one runs or waits for its own.
  public mutating func prepare(at now: Time) -> TimeSpan? {
    if isUnderWay { return nil }
    isUnderWay = true
    guard let beganAt, quickEnds > 0 else { return TimeSpan(nanoseconds: 0) }
    let pause = min(Self.pauseMax, .seconds(1 << min(quickEnds - 1, 6)))
    return max(beganAt + pause - now, TimeSpan(nanoseconds: 0))
  }

  public mutating func begin(at now: Time) { beganAt = now }

  /// It has ended, or could not be started.
  public mutating func end(at now: Time) {
    isUnderWay = false
    let isQuick = beganAt.map { now - $0 < Self.quickEnd } ?? true
    quickEnds = isQuick ? quickEnds + 1 : 0
  }
}
