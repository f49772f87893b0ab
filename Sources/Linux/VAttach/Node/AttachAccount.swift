import Synchronization
import VProtocol

/// What all processes of one user have together of what the node keeps for attached ones.
///
/// Counts are taken before a thing is made, and given back when it is gone; so none is ever passed.
/// Who owns the node has no share that ends.
package final class AttachAccount: Sendable {
  /// A bounded count that any thread may change.
  struct Share: ~Copyable {
    private let used = Atomic(0)
    private let max: Int

    init(_ max: Int) { self.max = max }

    var count: Int { used.load(ordering: .relaxed) }

    /// Whether there was room for `amount` more; then it is taken.
    func take(_ amount: Int = 1) -> Bool {
      if used.wrappingAdd(amount, ordering: .relaxed).newValue <= max { return true }
      give(amount)
      return false
    }

    func give(_ amount: Int = 1) { used.wrappingSubtract(amount, ordering: .relaxed) }

    /// What is left of it.
    var left: Int { max - count }
  }

  /// Numbers of entities: some at once, and so many in a second.
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

    /// Whether it is as good as one that is made anew.
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

  /// Whether one more number of an entity may be used up.
  func takeNumber(at now: Time) -> Bool { isOwner || numbers.withLock { $0.take(at: now) } }

  /// Nothing of its user is left but time.
  func isForgettable(at now: Time) -> Bool { numbers.withLock { $0.isFull(at: now) } }

  // MARK: turns

  /// A process of the user is being read from now on, until `endReading`.
  package func beginReading() { readers.wrappingAdd(1, ordering: .relaxed) }
  package func endReading() { readers.wrappingSubtract(1, ordering: .relaxed) }

  /// How many frames of one process are carried out before others get their turn: the more of a
  /// user's processes wait, the fewer of each, since the turn is the user's.
  package var framesOfTurn: Int {
    max(1, limits.framesOfTurn / max(1, readers.load(ordering: .relaxed)))
  }
}
