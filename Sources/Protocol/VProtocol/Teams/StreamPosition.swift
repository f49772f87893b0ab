/// Positions in a program's streams that a client chooses, so that it can repeat a request without
/// knowing whether the first one was done.
///
/// Without the mark, a read of `out` or `err` gets what this instance has not read, and a write to
/// `in` follows all earlier ones.
/// write to `in` is of what nobody has written.
public enum StreamPosition {
  private static let mark: UInt64 = 1 << 63

  /// The position as it is in a request.
  public static func marked(_ position: UInt64) -> UInt64 { position | mark }

  /// The position that a request has; nil if it has none.
  public static func named(by position: UInt64) -> UInt64? {
    position & mark == 0 ? nil : position & ~mark
  }
}
