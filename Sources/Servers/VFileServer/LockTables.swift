import VObjects
import VProtocol
import VRuntime
import VStore

/// The owners of locks, and their shares.
extension Locks.State {
  /// Adjusts the share of an owner that had `old` ranges on an object and now has `new`;
  /// `noServerResources`, and no change, if its principal has too many.
  ///
  /// Each principal is charged for each object that it has locks on, even if others have locks on
  /// it too: so no principal pays for what another one keeps.
  mutating func pay(
    _ key: Locks.Key, _ table: inout Locks.Table, from old: Int, to new: Int
  ) throws(StoreFailure) {
    let principal = key.owner.principal
    let owners = table.payers[principal] ?? 0
    if new > old {
      guard new <= RangeLocks.spansMax, ranges.take(principal, new - old) else {
        throw .refused(.noServerResources)
      }
    }
    if old == 0 && new > 0 {
      guard owners > 0 || objects.take(principal) else {
        ranges.give(principal, new)
        throw .refused(.noServerResources)
      }
      table.payers[principal] = owners + 1
    }
    if new < old { ranges.give(principal, old - new) }
    if old > 0 && new == 0 {
      table.payers[principal] = owners > 1 ? owners - 1 : nil
      if owners == 1 { objects.give(principal) }
    }
  }

  /// Replaces an owner's ranges by fewer; returns the steps for Linux.
  mutating func replace(
    _ key: Locks.Key, _ table: inout Locks.Table, by ranges: RangeLocks
  ) throws(StoreFailure) -> [LockUnion<Locks.Owner>.Step] {
    let old = table.union.owners[key.owner]?.spans.count ?? 0
    try pay(key, &table, from: old, to: ranges.spans.count)
    if ranges.isEmpty, let use = table.uses.removeValue(forKey: key.owner) {
      forget(key, of: use.instance)
    }
    return table.union.change(key.owner, to: ranges)
  }

  /// Notes the instance that an owner used last: its end removes the locks.
  mutating func note(_ waiter: LockWaiter, _ table: inout Locks.Table) {
    let (key, instance) = (waiter.key, waiter.instance.id)
    if let use = table.uses[key.owner], use.instance != instance {
      forget(key, of: use.instance)
    }
    table.uses[key.owner] = (instance, waiter.lock.process)
    keys[instance, default: []].insert(key)
  }

  private mutating func forget(_ key: Locks.Key, of instance: InstanceID) {
    keys[instance]?.remove(key)
    if keys[instance]?.isEmpty == true { keys[instance] = nil }
  }
}

/// The count of locks given: a lock that was lost can be reclaimed if no conflicting lock was given
/// since.
struct LockGrants: Sendable {
  /// The last locks of each kind on an object.
  private struct Record: Sendable {
    var shared: UInt64
    var exclusive: UInt64
  }

  private var count: UInt64 = 0
  private var records: [Locks.Place: Record] = [:]
  /// The objects that each principal was the first to lock, in that order: its records replace only
  /// its own, so that no principal can make another one's lock look broken.
  private var places: [Principal: [Locks.Place]] = [:]
  private var shares: Shares
  /// For objects without a record.
  private var lastForgotten: UInt64 = 0

  init(capacity: Int, ownHost: String) {
    shares = Shares(capacity: capacity, ownHost: ownHost)
  }

  var answer: LockInstance.Answer { LockInstance.Answer(grant: count) }

  mutating func note(_ kind: LockKind, _ key: Locks.Key) {
    count += 1
    var record = records[key.place]
    if record == nil {
      guard makeRoom(for: key.owner.principal) else {
        lastForgotten = count
        return
      }
      places[key.owner.principal, default: []].append(key.place)
      record = Record(shared: lastForgotten, exclusive: lastForgotten)
    }
    if kind == .exclusive { record?.exclusive = count } else { record?.shared = count }
    records[key.place] = record
  }

  /// Drops the older half of a principal's records if it has too many; false if it has none.
  private mutating func makeRoom(for principal: Principal) -> Bool {
    if shares.take(principal) { return true }
    guard let own = places[principal], !own.isEmpty else { return false }
    let dropped = own.prefix((own.count + 1) / 2)
    for place in dropped {
      guard let record = records.removeValue(forKey: place) else { continue }
      lastForgotten = max(lastForgotten, record.shared, record.exclusive)
    }
    places[principal] = Array(own.dropFirst(dropped.count))
    shares.give(principal, dropped.count)
    return shares.take(principal)
  }

  /// Fails if a conflicting lock was given since: then a lost lock cannot be reclaimed.
  func mustBeUnbroken(
    since grant: UInt64, _ kind: LockKind, _ place: Locks.Place
  ) throws(StoreFailure) {
    let record = records[place] ?? Record(shared: lastForgotten, exclusive: lastForgotten)
    let other = kind == .exclusive ? max(record.shared, record.exclusive) : record.exclusive
    guard other <= grant else { throw .refused(.wouldBlock) }
  }
}
