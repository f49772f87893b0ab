public import Synchronization

/// Leads what exists first, such as a server's procedure, to the object that it belongs to; weak,
/// so that neither keeps the other.
public final class LateBound<Object: AnyObject & Sendable>: Sendable {
  @usableFromInline
  struct Reference: Sendable {
    @usableFromInline weak var value: Object?

    @inlinable init() {}
  }
  @usableFromInline let reference = Mutex(Reference())

  @inlinable
  public init() {}

  /// Nil before it was bound, and once the object is gone.
  @inlinable
  public var object: Object? { reference.withLock { $0.value } }
  @inlinable
  public func bind(_ object: Object) { reference.withLock { $0.value = object } }
}
