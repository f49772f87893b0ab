public import VProtocol
import VTransport

/// Making and ending entities and groups.
///
/// Ending an entity costs time in proportion to its state: it knows its groups, the clients that
/// wait for it, and the requests that it works on.
extension Kernel {
  /// A new client of `user` on this host; `marks` are what the node knows of the user, and no
  /// message of it has a higher `priority`.
  ///
  /// `none` if all numbers were used in the last T.
  public mutating func makeClient(
    user: String, marks: Principal.Marks = [], priority: Priority = .normal
  ) -> EntityID {
    let client = makeEntity(user, nil)
    entities[client]?.marks = marks
    entities[client]?.priority = priority
    return client
  }

  /// A new server; with a well-known discriminator, 2 to 15, it is the kernel's only one of that
  /// kind.
  ///
  /// `none` if all numbers were used in the last T.
  public mutating func makeServer(_ kind: ServerKind, discriminator: UInt32? = nil) -> EntityID {
    precondition(discriminator.map { 2..<16 ~= $0 } ?? true, "2 to 15 are well-known")
    return makeEntity("", kind, discriminator)
  }

  /// A client for one nested call.
  mutating func makeNestedClient(user: String, marks: Principal.Marks) -> EntityID {
    var numbers = nestedNumbers
    let number = numbers.take { entities[EntityID(kernel: id, discriminator: $0)] != nil }
    nestedNumbers = numbers
    guard let number else { return .none }
    let client = addEntity(number, user, nil)
    entities[client]!.marks = marks
    return client
  }

  private mutating func makeEntity(
    _ user: String, _ kind: ServerKind?, _ wellKnown: UInt32? = nil
  ) -> EntityID {
    var number = wellKnown
    if number == nil {
      var numbers = self.numbers
      number = numbers.take {
        let entity = EntityID(kernel: id, discriminator: $0)
        return entities[entity] != nil || whereabouts.departure(of: entity, from: id) != nil
      }
      self.numbers = numbers
    }
    guard let number else { return .none }
    return addEntity(number, user, kind)
  }

  private mutating func addEntity(
    _ number: UInt32, _ user: String, _ kind: ServerKind?
  ) -> EntityID {
    let entity = EntityID(kernel: id, discriminator: number)
    precondition(entities[entity] == nil, "a well-known server is made once")
    entities[entity] = Entity(
      user: user, lastTransaction: randomTransaction(), serverKind: kind)
    return entity
  }

  /// Ends a local entity.
  ///
  /// Its own transaction is abandoned without a completion; the transactions of local clients that
  /// wait for it end.
  public mutating func retire(_ entity: EntityID, _ step: inout Step) {
    guard let removed = entities[entity].take() else { return }
    if entity.kernel == id {
      numbers.giveBack(entity.discriminator, at: step.now)
      nestedNumbers.giveBack(entity.discriminator, at: step.now)
    } else {
      whereabouts.forget(entity)
    }
    if let current = removed.current { endPending(current) }
    guard removed.serverKind != nil else { return }
    let works = working.removeValue(forKey: entity)?.entries ?? []
    for work in works where isWorking(entity, on: work) {
      fail(work.key, .outcomeUnknown, &step)
    }
    abandon(waiting.removeValue(forKey: entity)?.entries ?? [], of: entity, &step)
    for group in removed.groups {
      groups[group]?.members.removeAll { $0 == entity }
      guard groups[group]?.members.isEmpty == true else { continue }
      groups[group] = nil
      abandon(waiting.removeValue(forKey: group)?.entries ?? [], of: group, &step)
    }
  }

  /// Ends the transactions of clients that wait for `target`, which will not answer.
  private mutating func abandon(
    _ waiting: [Waiting], of target: EntityID, _ step: inout Step
  ) {
    for entry in waiting where isWaiting(entry, for: target) {
      finish(entry.client, .outcomeUnknown, &step)
    }
  }

  /// Adds a local server to a group; does nothing if the server is in 16 groups, or has ended.
  public mutating func join(_ server: EntityID, group: EntityID) {
    precondition(group.isGroup, "a server joins a group")
    guard let known = entities[server], known.serverKind != nil, !known.groups.contains(group),
      known.groups.count < Limits.groupsOfEntity,
      groups[group]?.members.count ?? 0 < Limits.membersOfGroup
    else { return }
    entities[server]!.groups.append(group)
    groups[group, default: Group()].members.append(server)
  }

  /// Remembers that a local client waits for a server or a group of this kernel.
  mutating func noteWaiting(
    _ client: EntityID, _ transaction: TransactionID, for target: EntityID
  ) {
    guard waiting[target, default: Backlog()].add((client, transaction)) else { return }
    let alive = waiting[target]!.entries.filter { isWaiting($0, for: target) }
    waiting[target]!.keep(alive)
  }

  func isWaiting(_ entry: Waiting, for target: EntityID) -> Bool {
    guard isWaiting(entry.client, for: entry.transaction),
      let current = entities[entry.client]?.current
    else { return false }
    return current.holder == target && (!target.isGroup || current.route == .local)
  }

  /// Remembers that a local server was given the request of a record.
  mutating func noteWork(of server: EntityID, _ key: RecordKey, _ transaction: TransactionID) {
    guard working[server, default: Backlog()].add((key, transaction)) else { return }
    let alive = working[server]!.entries.filter { isWorking(server, on: $0) }
    working[server]!.keep(alive)
  }

  private func isWorking(_ server: EntityID, on work: Work) -> Bool {
    guard let record = records[work.key], record.id == work.transaction else { return false }
    return record.isProcessing && holder(of: record, work.key) == server
  }

  /// The local server that works on a remote client's request.
  func holder(of record: ServerTransaction, _ key: RecordKey) -> EntityID {
    if record.holder != .none { return record.holder }
    return key.member == .none ? record.addressee : key.member
  }
}
