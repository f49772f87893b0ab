import Synchronization

/// Leads what exists first, such as a server's procedure, to the object that it belongs to; weak,
/// so that neither keeps the other.
public final class LateBound<Object: AnyObject & Sendable>: Sendable {
  private struct Reference: Sendable { weak var value: Object? }
  private let reference = Mutex(Reference())

  public init() {}

  /// Nil before it was bound, and once the object is gone.
  public var object: Object? { reference.withLock { $0.value } }
  public func bind(_ object: Object) { reference.withLock { $0.value = object } }
}
