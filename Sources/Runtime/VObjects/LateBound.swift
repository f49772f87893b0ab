public import Synchronization

/// A weak reference that is set later: from a server's procedure, which exists first, to the object
/// that it belongs to.
public final class LateBound<Object: AnyObject & Sendable>: Sendable {
  @usableFromInline
  struct Reference: Sendable {
    @usableFromInline weak var value: Object?

    @inlinable init() {}
  }
  @usableFromInline let reference = Mutex(Reference())

  @inlinable
  public init() {}

  /// Nil before it is bound, and after the object is freed.
  @inlinable
  public var object: Object? { reference.withLock { $0.value } }
  @inlinable
  public func bind(_ object: Object) { reference.withLock { $0.value = object } }
}
