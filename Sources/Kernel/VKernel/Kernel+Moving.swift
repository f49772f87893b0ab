public import VProtocol
import VTransport

/// Entities that move from one kernel to another.
///
/// ```
///   this kernel:   freeze ----> image ----> release    (or thaw, if the other one did not take it)
///   the other one:              adopt
/// ```
/// An entity keeps its id, its principal and its groups, the transaction that it waits in, the
/// requests that it works on and the answers that its clients may ask for again. From `freeze` on
/// nothing is given to it: requests are answered BUSY. `release` tells its clients where it is:
/// ENTITY_MIGRATED. The caller sees to it that an image is adopted at most once, that only a kernel
/// which gave it away releases the entity, and that its process has stopped before.
extension Kernel {
  /// Stops an entity that is to move to `kernel`; nil if there is none, or no room to remember it.
  public mutating func freeze(
    _ entity: EntityID, for kernel: KernelID, _ step: inout Step
  ) -> EntityImage? {
    guard kernel != id, Self.isMovable(entity), let state = entities[entity]
    else { return nil }
    let principal = Principal(user: state.user, host: state.origin ?? host)
    guard whereabouts.setOwn(entity, on: kernel, principal) else { return nil }
    entities[entity] = nil
    frozen[entity] = Frozen()
    var image = EntityImage(
      entity: entity, source: id, state: state, principal: principal, records: [:],
      takenAt: step.now)
    takeRecords(into: &image, step.now)
    takeWaiting(into: &image, for: kernel, step.now)
    leaveRequest(of: &image, for: kernel, step.now)
    working[entity] = nil
    for group in state.groups {
      groups[group]?.members.removeAll { $0 == entity }
      if groups[group]?.members.isEmpty == true { groups[group] = nil }
    }
    return image
  }

  /// Records of requests that it has, and of answers that it gave, go with it.
  private mutating func takeRecords(into image: inout EntityImage, _ now: Time) {
    let entity = image.entity
    for key in records.keys.sorted() {
      let record = records[key]!
      guard record.goes(with: entity, heldBy: holder(of: record, key)) else { continue }
      image.records[key] = record
      frozen[entity]!.asking[key] = record.id
      if key.member == .none {
        records[key]!.leave(with: entity, at: now)
        armRecord(key)
      } else {
        dropRecord(key)
      }
    }
  }

  /// Requests of this kernel's own clients have records where it goes.
  private mutating func takeWaiting(
    into image: inout EntityImage, for kernel: KernelID, _ now: Time
  ) {
    let entity = image.entity
    for entry in waiting[entity]?.entries ?? [] where isWaiting(entry, for: entity) {
      guard let current = entities[entry.client]?.current, current.route == .local
      else { continue }
      image.records[RecordKey(client: entry.client, member: .none)] = ServerTransaction(
        client: entry.client, current.id, forwardCount: current.heldForwardCount, server: entity,
        principal: entities[entry.client]?.principal(on: host), from: id, at: now)
    }
  }

  /// The request that it waits for has a record here, if a server of this kernel works on it.
  private mutating func leaveRequest(
    of image: inout EntityImage, for kernel: KernelID, _ now: Time
  ) {
    guard let current = image.state.current else { return }
    guard current.route == .local, !current.server.isGroup else { return endPending(current) }
    let key = RecordKey(client: image.entity, member: .none)
    var record = ServerTransaction(
      client: image.entity, current.id, forwardCount: current.heldForwardCount,
      server: current.holder, principal: image.state.serverKind == nil ? image.principal : nil,
      from: kernel, at: now)
    if let held = frozen[current.holder] {
      // That one moves too: either it has the request already, or it has not been given it.
      let entry = held.undelivered.last {
        $0.transaction == current.id && $0.client == image.entity
      }
      frozen[current.holder]!.undelivered.removeAll { $0.client == image.entity }
      if entry?.isVouched == true { image.state.current!.takeBack() }
      guard entry == nil else { return }
      record.leave(with: current.holder, at: now)
    }
    guard addRecord(record, key, of: kernel, at: now) else { return }
    armRecord(key)
    guard record.isProcessing else { return }
    noteWork(of: current.holder, key, current.id)
  }

  /// Takes in an entity that comes from another kernel, or was not taken by the one that it was
  /// frozen for; false if it is here, or there is no room for what is known of it.
  public mutating func adopt(_ image: EntityImage, _ step: inout Step) -> Bool {
    let entity = image.entity
    let before = kernel(of: entity)
    guard entities[entity] == nil, records.count + image.records.count <= Limits.records,
      whereabouts.setOwn(entity, on: id, image.principal)
    else { return false }
    let frozen = frozen.removeValue(forKey: entity)
    var state = image.state
    let current = state.current.take()
    state.queuedAt = nil
    // Records of it go where it comes to and are dropped there.
    state.exchanges = Exchanges()
    state.groups = []
    if entity.kernel == id && image.principal.host == host {
      whereabouts.forget(entity)
    } else {
      // What its own kernel knew of it, this one cannot know.
      state.origin = image.principal.host
      state.marks = []
    }
    entities[entity] = state
    for group in image.state.groups { join(entity, group: group) }
    let ahead = step.now - image.takenAt
    for key in image.records.keys.sorted() {
      takeRecord(image.records[key]!, key, of: entity, ahead, &step)
    }
    if var current {
      current.shift(by: ahead)
      takeUp(current, of: entity, from: image.source, &step)
    }
    guard let frozen else { return true }
    for entry in frozen.undelivered where isWaiting(entry.client, for: entry.transaction) {
      // The others are in its records.
      let key = RecordKey(client: entry.client, member: .none)
      guard image.records[key]?.id != entry.transaction else { continue }
      deliverHere(of: entry.client, isVouched: entry.isVouched, &step)
    }
    // Nothing was sent to the kernel that did not take it.
    redirectAll(for: entity, from: before, to: id, isVouched: true, &step)
    return true
  }

  private mutating func takeRecord(
    _ moved: ServerTransaction, _ key: RecordKey, of entity: EntityID, _ ahead: TimeSpan,
    _ step: inout Step
  ) {
    if isHere(key.client) { return takeOwnRequest(moved, of: key.client, from: entity, &step) }
    var record = moved
    record.shift(by: ahead)
    // It came from a client of the kernel that it leaves, or by way of this one.
    if record.peer == id { record.peer = kernel(of: key.client) }
    guard record.replace(records[key]) else { return }
    dropRecord(key)
    setRecord(record, key, of: record.peer, at: step.now)
    if record.isProcessing { noteWork(of: entity, key, record.id) }
    armRecord(key)
  }

  /// The client of a request is on this kernel: from now on they need no packets.
  private mutating func takeOwnRequest(
    _ record: ServerTransaction, of client: EntityID, from server: EntityID, _ step: inout Step
  ) {
    guard let current = entities[client]?.current, current.id == record.id else { return }
    if let response = record.response {
      finish(client, server: record.responder, response, &step)
    } else if record.isProcessing {
      endPending(current)
      _ = entities[client]!.current!.redirect(
        to: .local, holder: server, isVouched: false, at: step.now, roundTrip: RoundTrip())
      noteWaiting(client, current.id, for: server)
      armClient(client)
    }
  }

  /// Goes on with the transaction in which an entity has waited on another kernel.
  private mutating func takeUp(
    _ old: ClientTransaction, of client: EntityID, from source: KernelID, _ step: inout Step
  ) {
    entities[client]!.current = old
    if old.server.isGroup, case .multicast = old.route {
      return sendAnew(client, &step)
    }
    entities[client]!.current!.forgetRoute()
    let key = RecordKey(client: client, member: .none)
    if let record = records[key], record.id == old.id, record.isAhead(of: old) {
      // Its forwarder may repeat the request.
      records[key]!.sendOn(at: step.now)
      armRecord(key)
      return takeOwnRecord(record, of: client, from: holder(of: record, key), &step)
    }
    // The kernel that was asked knows what became of it.
    var asked = source
    if case .peer(let kernel) = old.route { asked = kernel }
    // Here, a record of an earlier request shows that this one has not come.
    let hasNotCome = records[key].map { old.id.isNewer(than: $0.id) } ?? false
    let isVouched = !old.wasSent || asked == id && hasNotCome
    redirect(
      client, to: asked == id ? kernel(of: old.holder) : asked, isVouched: isVouched, &step)
  }

  /// This kernel has a record of the request of a client that has come here.
  private mutating func takeOwnRecord(
    _ record: ServerTransaction, of client: EntityID, from server: EntityID, _ step: inout Step
  ) {
    if record.isProcessing || record.response != nil {
      takeOwnRequest(record, of: client, from: server, &step)
    } else if let target = record.forwarded?.target {
      entities[client]!.current!.holder = target
      redirect(client, to: kernel(of: target), isVouched: false, &step)
    } else {
      // It had not come whole, or was to be asked about.
      deliverHere(of: client, isVouched: true, &step)
    }
  }

  /// Another kernel has adopted an entity that was frozen here: its clients are told.
  public mutating func release(_ entity: EntityID, _ step: inout Step) {
    guard let gone = frozen.removeValue(forKey: entity) else { return }
    let kernel = kernel(of: entity)
    for (key, transaction) in gone.asking.sorted(by: { $0.key < $1.key })
    where key.member == .none {
      let peer = self.kernel(of: key.client)
      notifyClient(
        key.client, transaction, [], .entityMigrated, retransmitCount: 0, movedTo: kernel,
        to: peer, &step)
    }
    let vouched = Set(gone.undelivered.lazy.filter(\.isVouched).map(\.client))
    for entry in waiting.removeValue(forKey: entity)?.entries ?? []
    where isWaiting(entry, for: entity) {
      redirect(
        entry.client, to: kernel, isVouched: vouched.contains(entry.client), &step)
    }
  }
}
