/// Positions in a program's streams that a client names itself, so that one that does not know what
/// became of its request can make it again.
///
/// Where they have no mark, a read of `out` or `err` is of what this instance has not read, and a
/// write to `in` is of what nobody has written.
public enum StreamPosition {
  private static let mark: UInt64 = 1 << 63

  /// As it is in a request.
  public static func marked(_ position: UInt64) -> UInt64 { position | mark }

  /// What a request names; nil where it names none.
  public static func named(by position: UInt64) -> UInt64? {
    position & mark == 0 ? nil : position & ~mark
  }
}
