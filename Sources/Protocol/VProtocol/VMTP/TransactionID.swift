/// The number of one message transaction of a client; the pair (client, number) identifies it.
///
/// Starts at random, grows by 1, and is compared in serial arithmetic (RFC 1045 3.4).
public struct TransactionID: Hashable, Sendable, CustomStringConvertible {
  public var rawValue: UInt32
  public init(_ rawValue: UInt32) { self.rawValue = rawValue }

  public var next: TransactionID { TransactionID(rawValue &+ 1) }
  public var previous: TransactionID { TransactionID(rawValue &- 1) }

  /// Whether this one was started after `other`: 1 to 2^31 - 1 steps ahead of it.
  public func isNewer(than other: TransactionID) -> Bool {
    let distance = rawValue &- other.rawValue
    return distance != 0 && distance < 1 << 31
  }

  public var description: String { "\(rawValue)" }
}
