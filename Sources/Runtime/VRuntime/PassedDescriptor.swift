/// An open file descriptor that a manager passes to a client of the same host, for passthrough.
///
/// It stays open as long as this object is referenced.
public final class PassedDescriptor: Sendable {
  public let number: Int32
  private let holder: any AnyObject & Sendable

  /// `holder` closes the descriptor when it is freed.
  public init(_ number: Int32, heldBy holder: any AnyObject & Sendable) {
    self.number = number
    self.holder = holder
  }
}
