package import VProtocol

/// Where entities are that are not on the kernel of their id, which is only the first guess.
///
/// Some have left this kernel, and some have come to it: those are known for as long as they live.
/// Where others are was said by the kernel that was asked for them, or found out when that one had
/// ended; what is forgotten is asked again.
package struct Whereabouts: Sendable {
  package struct Entry: Sendable {
    package var kernel: KernelID
    /// The principal, as the kernel that it has left said: it stays the same when a client moves.
    package var principal: Principal?
    /// It has left this kernel, or come to it.
    package var isOwn = false
  }

  private var entries: [EntityID: Entry] = [:]
  /// How many entities are known to be on each other kernel, without those that have left this one.
  private var learned: [KernelID: Int] = [:]
  private var learnedCount = 0
  package private(set) var ownCount = 0

  package init() {}

  /// Empty in most clusters, so this costs nothing there.
  package func kernel(of entity: EntityID) -> KernelID {
    entries.isEmpty ? entity.kernel : entries[entity]?.kernel ?? entity.kernel
  }

  package func principal(of entity: EntityID) -> Principal? { entries[entity]?.principal }

  /// Where an entity is that has left this kernel.
  package func departure(of entity: EntityID, from own: KernelID) -> Entry? {
    guard let entry = entries[entity], entry.isOwn, entry.kernel != own else { return nil }
    return entry
  }

  /// An entity has left this kernel, or come to it; false without room.
  package mutating func setOwn(
    _ entity: EntityID, on kernel: KernelID, _ principal: Principal?
  ) -> Bool {
    if entries[entity]?.isOwn != true {
      guard ownCount < Limits.moves else { return false }
      forget(entity)
      ownCount += 1
    }
    entries[entity] = Entry(kernel: kernel, principal: principal, isOwn: true)
    return true
  }

  /// An entity is on another kernel.
  package mutating func learn(_ entity: EntityID, on kernel: KernelID, _ principal: Principal?) {
    if let known = entries[entity] {
      if known.isOwn {
        entries[entity]!.kernel = kernel
        return
      }
      forget(entity)
    }
    guard Limits.hasRoom(learned[kernel] ?? 0, used: learnedCount, of: Limits.whereabouts)
    else { return }
    learned[kernel, default: 0] += 1
    learnedCount += 1
    entries[entity] = Entry(kernel: kernel, principal: principal)
  }

  package mutating func forget(_ entity: EntityID) {
    guard let known = entries.removeValue(forKey: entity) else { return }
    guard !known.isOwn else {
      ownCount -= 1
      return
    }
    learnedCount -= 1
    learned[known.kernel]! -= 1
    if learned[known.kernel] == 0 { learned[known.kernel] = nil }
  }

  /// A kernel is forgotten, and with it what was learned to be there.
  package mutating func forgetAll(on kernel: KernelID) {
    guard learned[kernel] != nil else { return }
    for (entity, entry) in entries where entry.kernel == kernel && !entry.isOwn { forget(entity) }
  }
}
