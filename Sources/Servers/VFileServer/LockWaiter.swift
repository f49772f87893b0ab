import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// A request for a lock, which may have to wait for it.
final class LockWaiter: Sendable {
  let request: Request
  let instance: FileInstance
  let lock: ObjectLock
  let how: LockInstance.How
  let grant: UInt64
  let key: Locks.Key
  /// Its answer; nil as long as it waits.
  private let decision = Mutex<Locks.Result?>(nil)

  /// `badArguments` if Linux has no such range.
  init(
    _ operation: LockInstance, _ instance: FileInstance, _ request: Request
  ) throws(StoreFailure) {
    self.request = request
    self.instance = instance
    var lock = operation.lock
    lock.range = try Self.range(of: lock)
    self.lock = lock
    how = operation.how
    grant = operation.grant
    let content = instance.content
    key = Locks.Key(
      place: Locks.Place(object: content.key.identity, isWhole: lock.isWhole),
      owner: Locks.Owner(
        principal: instance.caller.principal, process: content.process, number: lock.owner))
  }

  var place: Locks.Place { key.place }
  var owner: Locks.Owner { key.owner }
  var isDecided: Bool { decision.withLock { $0 != nil } }

  /// Sets the answer, unless there is one already; returns the answer.
  func decide(_ result: Locks.Result) -> (LockWaiter, Locks.Result) {
    let result = decision.withLock { decision in
      if decision == nil { decision = result }
      return decision ?? result
    }
    return (self, result)
  }

  /// Linux counts octets with 63 bits, and uses the last one for the end of every file.
  private static func range(of lock: ObjectLock) throws(StoreFailure) -> ClosedRange<UInt64> {
    if lock.isWhole { return all }
    let last = UInt64(Int64.max)
    guard lock.range.lowerBound < last else { throw .refused(.badArguments) }
    return lock.range.lowerBound...(lock.range.upperBound < last ? lock.range.upperBound : .max)
  }

  static let all: ClosedRange<UInt64> = 0 ... .max
}

/// The requests that wait for locks, in the order of arrival, in which they are served.
struct LockWaiters: Sendable {
  private var byPlace: [Locks.Place: [LockWaiter]] = [:]
  private var byOwner: [Locks.Owner: [LockWaiter]] = [:]

  var isEmpty: Bool { byPlace.isEmpty }
  var places: [Locks.Place] { Array(byPlace.keys) }
  func all(at place: Locks.Place) -> [LockWaiter] { byPlace[place] ?? [] }
  func all(of owner: Locks.Owner) -> [LockWaiter] { byOwner[owner] ?? [] }

  mutating func add(_ waiter: LockWaiter) {
    byPlace[waiter.place, default: []].append(waiter)
    byOwner[waiter.owner, default: []].append(waiter)
  }

  mutating func remove(_ waiter: LockWaiter) {
    byPlace[waiter.place]?.removeAll { $0 === waiter }
    if byPlace[waiter.place]?.isEmpty == true { byPlace[waiter.place] = nil }
    byOwner[waiter.owner]?.removeAll { $0 === waiter }
    if byOwner[waiter.owner]?.isEmpty == true { byOwner[waiter.owner] = nil }
  }
}

// MARK: - Waiting in a circle

extension Locks.State {
  /// Whether an owner that `waiter` would wait for waits, directly or not, for the owner of
  /// `waiter`.
  ///
  /// Linux gives up such a search after ten steps. Here it is given up after more steps than
  /// programs ever need; then the request waits, and a signal ends that like any wait.
  func wouldWaitInCircle(_ waiter: LockWaiter) -> Bool {
    var looks = Self.looksMax
    var seen: Set<Locks.Owner> = []
    var open = blockers(of: waiter, &looks)
    while looks > 0, let owner = open.popLast() {
      if owner == waiter.owner { return true }
      guard seen.insert(owner).inserted else { continue }
      for other in waiters.all(of: owner) where !other.place.isWhole {
        open += blockers(of: other, &looks)
      }
    }
    return false
  }

  /// Owners of locks that conflict with the wanted one.
  private func blockers(of waiter: LockWaiter, _ looks: inout Int) -> [Locks.Owner] {
    let lock = waiter.lock
    guard let union = tables[waiter.place]?.union,
      union.isHeld(against: lock.kind, lock.range, of: waiter.owner)
    else { return [] }
    var blockers: [Locks.Owner] = []
    for (owner, ranges) in union.owners where owner != waiter.owner {
      looks -= ranges.spans.count
      guard looks > 0 else { break }
      if ranges.conflict(with: lock.kind, lock.range) != nil { blockers.append(owner) }
    }
    return blockers
  }

  /// Ranges that the search looks at: a millisecond's work, done for one request.
  private static let looksMax = 65_536
}
