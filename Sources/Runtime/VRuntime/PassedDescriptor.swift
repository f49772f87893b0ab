/// An open file descriptor on its way from a manager to a client of the same host: the door to
/// passthrough.
///
/// It stays open as long as somebody holds this.
public final class PassedDescriptor: Sendable {
  public let number: Int32
  private let holder: any AnyObject & Sendable

  /// `holder` closes the descriptor when it goes.
  public init(_ number: Int32, heldBy holder: any AnyObject & Sendable) {
    self.number = number
    self.holder = holder
  }
}
