/// Where a directory keeps its table of claims while its node is down.
///
/// With the table lost, what is known of hosts that are away is lost, unless others tell.
public struct ClaimStore: Sendable {
  /// What was saved last; nothing where that is not to be had.
  public var load: @Sendable () -> [UInt8]
  /// Replaces what was saved, whole or not at all; may wait.
  public var save: @Sendable ([UInt8]) -> Void

  public init(
    load: @escaping @Sendable () -> [UInt8], save: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.load = load
    self.save = save
  }
}
