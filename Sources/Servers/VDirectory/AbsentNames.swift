package import VProtocol

/// Names without an answer, and how long each counts as absent: a value, shared among the clients
/// that asked for them.
///
/// If a client has used up its share, its name is not remembered, and is asked for again.
package struct AbsentNames: Sendable {
  private struct Entry: Sendable {
    var until: Time
    var asker: Principal
  }

  private var entries: [[UInt8]: Entry] = [:]
  private var shares: Shares

  package init(ownHost: String) {
    shares = Shares(capacity: DirectoryLimits.absentMax, ownHost: ownHost)
  }

  package var count: Int { entries.count }

  package func contains(_ name: [UInt8], at now: Time) -> Bool {
    entries[name].map { $0.until > now } ?? false
  }

  package mutating func insert(
    _ name: [UInt8], askedBy asker: Principal, until: Time, at now: Time
  ) {
    remove(name)
    if !shares.take(asker) {
      for (name, entry) in entries where entry.until <= now { remove(name) }
      guard shares.take(asker) else { return }
    }
    entries[name] = Entry(until: until, asker: asker)
  }

  /// A prefix was claimed: names above and below it may exist now.
  package mutating func removeAll(around prefix: [UInt8]) {
    for name in entries.keys
    where ClaimTable.leads(prefix, to: name) || ClaimTable.leads(name, to: prefix) {
      remove(name)
    }
  }

  private mutating func remove(_ name: [UInt8]) {
    guard let entry = entries.removeValue(forKey: name) else { return }
    shares.give(entry.asker)
  }
}
