/// A point on a node's clock, in nanoseconds since its machine started; virtual in the simulator.
public struct Time: Hashable, Comparable, Sendable {
  public var nanoseconds: Int64
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func < (left: Time, right: Time) -> Bool { left.nanoseconds < right.nanoseconds }
  public static func + (time: Time, span: TimeSpan) -> Time {
    Time(nanoseconds: time.nanoseconds + span.nanoseconds)
  }
  public static func - (left: Time, right: Time) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds - right.nanoseconds)
  }
}

/// A length of time in nanoseconds.
public struct TimeSpan: Hashable, Comparable, Sendable {
  public var nanoseconds: Int64
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func seconds(_ count: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: count * 1_000_000_000)
  }
  public static func milliseconds(_ count: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: count * 1_000_000)
  }
  public static func microseconds(_ count: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: count * 1000)
  }

  public static func < (left: TimeSpan, right: TimeSpan) -> Bool {
    left.nanoseconds < right.nanoseconds
  }
  public static func + (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds + right.nanoseconds)
  }
  public static func * (span: TimeSpan, factor: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: span.nanoseconds * factor)
  }
}
