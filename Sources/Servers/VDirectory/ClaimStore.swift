/// Where a directory keeps its table of claims while its node is down.
///
/// If the table is lost, claims of hosts that are down are lost, unless other hosts spread them.
public struct ClaimStore: Sendable {
  /// The octets that were saved last; empty if there are none.
  public var load: @Sendable () -> [UInt8]
  /// Replaces the saved octets, completely or not at all; may wait.
  public var save: @Sendable ([UInt8]) -> Void

  public init(
    load: @escaping @Sendable () -> [UInt8], save: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.load = load
    self.save = save
  }
}
