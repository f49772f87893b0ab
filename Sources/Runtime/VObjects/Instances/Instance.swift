public import Synchronization
public import VProtocol

/// An open object, with its mode and the principal that opened it.
///
/// It belongs to the whole principal. Its owner is the process whose death frees it.
public final class Instance<Content: Sendable>: Sendable {
  public let id: InstanceID
  public let content: Content
  public let mode: OpenMode
  /// The caller that opened it.
  public let caller: Caller
  /// Nanoseconds since 1970.
  public let openedAt: Int64
  /// Its place among all that its manager has opened.
  @usableFromInline let order: UInt64
  @usableFromInline let process: Atomic<UInt64>
  @usableFromInline let lost = Atomic(false)

  @inlinable
  init(
    _ id: InstanceID, _ content: Content, mode: OpenMode, _ caller: Caller, owner: EntityID,
    openedAt: Int64, order: UInt64
  ) {
    self.id = id
    self.content = content
    self.mode = mode
    self.caller = caller
    self.openedAt = openedAt
    self.order = order
    process = Atomic(owner.rawValue)
  }

  /// The process whose death frees it.
  @inlinable
  public var owner: EntityID { EntityID(rawValue: process.load(ordering: .relaxed)) }

  @inlinable
  func give(to owner: EntityID) { process.store(owner.rawValue, ordering: .relaxed) }

  /// Whether it ended because its owner's host was silent for long: the owner may live, and come
  /// back.
  public var isLost: Bool { lost.load(ordering: .relaxed) }

  func lose() { lost.store(true, ordering: .relaxed) }

  public var isReadable: Bool { !mode.isDisjoint(with: [.read, .execute, .directory]) }

  /// What it is ready for, where nothing that was opened so waits for others.
  public var able: Readiness {
    let able: Readiness = isReadable ? .readable : []
    return mode.contains(.write) ? able.union(.writeable) : able
  }
}
