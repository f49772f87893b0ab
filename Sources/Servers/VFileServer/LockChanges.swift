import VObjects
import VProtocol
import VRuntime
import VStore

/// Setting and removing locks, here and in Linux.
extension Locks {
  /// Sets or removes a lock; `wouldBlock` if another lock conflicts.
  func set(
    _ waiter: LockWaiter, _ state: inout State
  ) throws(StoreFailure) -> LockInstance.Answer {
    // Checked here, so that an instance that ends leaves no lock behind.
    _ = try waiter.instance.content.file
    let (key, lock) = (waiter.key, waiter.lock)
    guard lock.kind != .none else {
      try giveUp(key, lock.range, &state)
      return state.grants.answer
    }
    let isBlocked = state.tables[key.place]?.union
      .isHeld(against: lock.kind, lock.range, of: key.owner)
    if isBlocked == true {
      if key.place.isWhole { try giveUp(key, LockWaiter.all, &state) }
      throw .refused(.wouldBlock)
    }
    // Removed from the table, so that no change copies it.
    let toWrite = !key.place.isWhole && lock.kind == .exclusive
    var table: Table
    if let known = state.tables.removeValue(forKey: key.place) {
      table = known
    } else {
      table = Table(file: try open(waiter, toWrite: toWrite), isWriting: toWrite)
    }
    defer { putBack(table, key.place, &state) }
    if toWrite && !table.isWriting { try reopen(&table, toWrite: true) }
    let old = table.union.owners[key.owner]?.spans.count ?? 0
    let ranges = table.union.ranges(of: key.owner, setting: lock.kind, lock.range)
    try state.pay(key, &table, from: old, to: ranges.spans.count)
    do throws(StoreFailure) {
      if let step = table.union.step(toward: lock.kind, lock.range) {
        try store.lock(table.file.handle, step.kind, key.place.isWhole ? nil : step.range)
      }
    } catch {
      try state.pay(key, &table, from: ranges.spans.count, to: old)
      // Linux gives up the old kind of a flock before it takes the new one.
      if key.place.isWhole && old > 0 {
        _ = try state.replace(key, &table, by: RangeLocks())
      }
      throw error
    }
    _ = table.union.change(key.owner, to: ranges)
    state.note(waiter, &table)
    if waiter.how != .reclaiming { state.grants.note(lock.kind, key) }
    return state.grants.answer
  }

  /// Removes an owner's locks on a range; `noServerResources` if that splits a range and there are
  /// too many.
  ///
  /// Linux can refuse it only for lack of memory: then it holds more than the owners have, until
  /// the last lock on the object is removed.
  func giveUp(
    _ key: Key, _ range: ClosedRange<UInt64>, _ state: inout State
  ) throws(StoreFailure) {
    guard var table = state.tables.removeValue(forKey: key.place) else { return }
    defer { putBack(table, key.place, &state) }
    guard table.union.owners[key.owner] != nil else { return }
    let ranges = table.union.ranges(of: key.owner, setting: .none, range)
    var steps = try state.replace(key, &table, by: ranges)
    guard !table.union.isEmpty else { return unlock(table.file, isWhole: key.place.isWhole) }
    if table.union.isFree(range) { steps = [LockUnion.Step(kind: .none, range: range)] }
    for step in steps {
      try? store.lock(table.file.handle, step.kind, key.place.isWhole ? nil : step.range)
    }
  }

  func open(
    _ waiter: LockWaiter, toWrite: Bool
  ) throws(StoreFailure) -> HeldObject {
    let file = try waiter.instance.content.file
    return HeldObject(
      try store.openToLock(file.handle, toWrite: toWrite), of: store, export: file.export)
  }

  /// Stores the remaining locks; without exclusive locks the file can be run again.
  private func putBack(_ table: consuming Table, _ place: Place, _ state: inout State) {
    guard !table.union.isEmpty else { return }
    if table.isWriting && !table.union.hasExclusive {
      try? reopen(&table, toWrite: false)
    }
    state.tables[place] = table
  }

  /// Opens the file of the locks again, and moves them: all of them are shared, so no other lock
  /// can come between.
  private func reopen(_ table: inout Table, toWrite: Bool) throws(StoreFailure) {
    let held = table.union.held
    guard held.count <= (toWrite ? Self.movedMax : Self.movedBackMax) else {
      throw .refused(.noServerResources)
    }
    let file = HeldObject(
      try store.openToLock(table.file.handle, toWrite: toWrite), of: store,
      export: table.file.export)
    do throws(StoreFailure) {
      for step in held { try store.lock(file.handle, step.kind, step.range) }
    } catch {
      unlock(file, isWhole: false)
      throw error
    }
    unlock(table.file, isWhole: false)
    table.file = file
    table.isWriting = toWrite
  }

  /// Removes all locks of a file that is about to be closed.
  ///
  /// The close alone does not: a process that is being started has copies of all descriptors until
  /// its exec(2).
  private func unlock(_ file: HeldObject, isWhole: Bool) {
    try? store.lock(file.handle, .none, isWhole ? nil : LockWaiter.all)
  }

  /// Ranges that are moved for an exclusive lock: as many as one owner can have.
  private static let movedMax = RangeLocks.spansMax
  /// Ranges that are moved at an unlock, which may be repeated often: few enough to cost no more
  /// than the unlock.
  private static let movedBackMax = 64
}
