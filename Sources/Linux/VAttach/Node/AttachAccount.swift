import Synchronization
import VProtocol

/// What all attached processes of one user take up together in the node.
///
/// A count is raised before its object is made, and lowered when that is gone; so no bound is ever
/// exceeded. The node's owner has no bound.
package final class AttachAccount: Sendable {
  /// A bounded count that any thread may change.
  struct Share: ~Copyable {
    private let used = Atomic(0)
    private let max: Int

    init(_ max: Int) { self.max = max }

    var count: Int { used.load(ordering: .relaxed) }

    /// Takes `amount` more if there is room for it; else returns false.
    func take(_ amount: Int = 1) -> Bool {
      if used.wrappingAdd(amount, ordering: .relaxed).newValue <= max { return true }
      give(amount)
      return false
    }

    func give(_ amount: Int = 1) { used.wrappingSubtract(amount, ordering: .relaxed) }

    /// The amount that is still free.
    var left: Int { max - count }
  }

  /// Entity numbers: a number at once, and then a rate in each second.
  struct Numbers: Sendable {
    private var left: Int
    private var at: Time?
    private let max: Int
    private let interval: Int64

    init(_ limits: AttachLimits) {
      (left, max) = (limits.numbersAtOnce, limits.numbersAtOnce)
      interval = 1_000_000_000 / Int64(limits.numbersPerSecond)
    }

    mutating func take(at now: Time) -> Bool {
      refill(at: now)
      guard left > 0 else { return false }
      left -= 1
      return true
    }

    /// Whether it could be replaced by a new one.
    mutating func isFull(at now: Time) -> Bool {
      refill(at: now)
      return left == max
    }

    private mutating func refill(at now: Time) {
      guard let at, left < max else {
        self.at = now
        return
      }
      let earned = (now - at).nanoseconds / interval
      guard earned > 0 else { return }
      left = Int(min(Int64(max), Int64(left) + earned))
      self.at = at + TimeSpan(nanoseconds: earned * interval)
    }
  }

  let limits: AttachLimits
  let isOwner: Bool
  let entities: Share
  let servers: Share
  let memberships: Share
  let requests: Share
  let octets: Share
  private let numbers: Mutex<Numbers>
  private let readers = Atomic(0)

  package init(_ limits: AttachLimits, isOwner: Bool) {
    self.limits = limits
    self.isOwner = isOwner
    func share(_ count: Int) -> Share { Share(isOwner ? .max / 2 : count) }
    entities = share(limits.entitiesOfUser)
    servers = share(limits.serversOfUser)
    memberships = share(limits.membershipsOfUser)
    requests = share(limits.requestsOfUser)
    octets = share(limits.octetsOfUser)
    numbers = Mutex(Numbers(limits))
  }

  /// Takes one more entity number if the user may have it.
  func takeNumber(at now: Time) -> Bool { isOwner || numbers.withLock { $0.take(at: now) } }

  /// Whether nothing of its user remains but used-up numbers that have been restored.
  func isForgettable(at now: Time) -> Bool { numbers.withLock { $0.isFull(at: now) } }

  // MARK: turns

  /// A process of the user is being read from now on, until `endReading`.
  package func beginReading() { readers.wrappingAdd(1, ordering: .relaxed) }
  package func endReading() { readers.wrappingSubtract(1, ordering: .relaxed) }

  /// How many frames of one process are carried out before the turn of others: a turn belongs to a
  /// user, so with more waiting processes each gets fewer.
  package var framesOfTurn: Int {
    max(1, limits.framesOfTurn / max(1, readers.load(ordering: .relaxed)))
  }
}
