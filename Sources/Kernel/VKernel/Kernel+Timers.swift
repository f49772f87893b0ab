import VProtocol
import VTransport

/// Events that time causes.
extension Kernel {
  /// Does what is due at `now`; call it at `nextDeadline` or later.
  public mutating func handleTimers(_ step: inout Step) {
    if let first = timers.first, first + Timing.late < step.now { wokeAt = step.now }
    while let (time, key) = timers.popDue(at: step.now) {
      switch key {
      case .client(let client): handleClientTimer(client, queued: time, &step)
      case .record(let key): handleRecordTimer(key, queued: time, &step)
      case .probe(let transaction): takeProbe(transaction)
      case .postponed(let number): handlePostponed(number, &step)
      case .silence(let kernel): watchSilence(of: kernel, &step)
      case .doubt(let kernel): handleDoubtTimer(kernel, &step)
      case .peerName(let kernel): handlePeerNameTimer(kernel, &step)
      case .ownName: handleNameTimer(&step)
      }
    }
  }

  /// Queues an entry.
  ///
  /// When the queue has doubled since the last sweep, it drops stale entries: a time limit may be a
  /// year away, and its transaction over at once.
  mutating func pushTimer(_ key: TimerKey, at time: Time) {
    timers.push(key, at: time)
    guard timers.count > timersMax else { return }
    var timers = TimerQueue<TimerKey>()
    swap(&timers, &self.timers)
    timers.removeAll { isStale($1, at: $0) }
    timersMax = max(Limits.timers, 2 * timers.count)
    swap(&timers, &self.timers)
  }

  private func isStale(_ key: TimerKey, at time: Time) -> Bool {
    switch key {
    case .client(let client): entities[client]?.queuedAt != time
    case .record(let key):
      records[key].map { $0.queuedAt != time && $0.queuedLaterAt != time } ?? true
    case .probe(let transaction): probes[transaction] == nil
    case .postponed(let number): postponed[number] == nil
    case .silence(let kernel): peers[kernel]?.isSilent != true
    case .doubt(let kernel): peers[kernel]?.doubt == nil
    case .peerName(let kernel): peers[kernel] == nil
    case .ownName: false
    }
  }

  private mutating func handleClientTimer(_ client: EntityID, queued: Time, _ step: inout Step) {
    guard entities[client]?.queuedAt == queued else { return }
    entities[client]!.queuedAt = nil
    guard let route = entities[client]?.current?.route else { return }
    if hasSearchEnded(for: client, by: route, at: step.now) {
      let wasSent = entities[client]!.current!.wasSent
      return finish(client, wasSent ? .outcomeUnknown : .nonexistentEntity, &step)
    }
    if isGivenUp(client, route, at: step.now) {
      return finish(client, .retransmissionTimeout, &step)
    }
    if case .peer(let kernel) = route, let server = entities[client]?.current?.server {
      seekElsewhere(kernel, for: server, &step)
    }
    let roundTrip = roundTrip(by: route)
    perform(
      entities[client]!.current!.handleTimeout(at: step.now, roundTrip: roundTrip), of: client,
      &step)
  }

  /// Whether a server's kernel has ended, and no other one has the server.
  private mutating func hasSearchEnded(
    for client: EntityID, by route: ClientTransaction.Route, at now: Time
  ) -> Bool {
    guard case .peer(let kernel) = route, dead.contains(kernel),
      let current = entities[client]?.current,
      peers[kernel].map({ $0.searchEnd(since: current.startedAt) <= now }) ?? true
    else { return false }
    peers[kernel]?.noteAbsent(current.holder, at: now)
    return true
  }

  /// Whether its kernel has fallen silent, or no member of a group has answered in that time.
  private mutating func isGivenUp(
    _ client: EntityID, _ route: ClientTransaction.Route, at now: Time
  ) -> Bool {
    switch route {
    case .local: return false
    case .multicast:
      guard let current = entities[client]?.current?.schedule, current.limit == nil else {
        return false
      }
      return max(current.startedAt, wokeAt) + Timing.silence <= now
    case .peer(let kernel):
      let wokeAt = wokeAt
      let (wasSilent, isSilent) = withPeer(kernel, at: now) {
        ($0.isSilent, $0.checkSilence(at: now, since: wokeAt))
      }
      if isSilent { counters.silentPeers += 1 }
      if isSilent && !wasSilent { pushTimer(.silence(kernel), at: now + Timing.signInterval) }
      return isSilent
    }
  }

  /// Asks a silent kernel for a sign of life as long as it is silent: it may be up again without
  /// having sent anything.
  private mutating func watchSilence(of kernel: KernelID, _ step: inout Step) {
    guard let peer = peers[kernel], peer.isSilent, let locator = peer.locator else { return }
    let age = step.now - peer.answeredAt
    guard age < Timing.signsEnd else { return }
    challenge(kernel, at: locator, &step)
    seekElsewhere(kernel, for: .none, &step)
    // As long again as it has been silent for, divided by the signs at first.
    let parts = age.nanoseconds / Timing.signsAtFirst.nanoseconds + 1
    let interval = min(Timing.signInterval * parts, Timing.signIntervalCap)
    pushTimer(.silence(kernel), at: step.now + interval)
  }

  private mutating func handleRecordTimer(_ key: RecordKey, queued: Time, _ step: inout Step) {
    guard let record = records[key], record.queuedAt == queued else { return }
    records[key]!.queuedAt = records[key]!.queuedLaterAt.take()
    let peer = withPeer(record.peer, at: step.now) { $0 }
    // If its request is being worked on, perhaps only the forwarder hears from it.
    let isClientLost =
      !record.isProcessing && !isHere(record.client)
      && withPeer(kernel(of: record.client), at: step.now) { $0.isLost(at: step.now) }
    let isLost = peer.isLost(at: step.now) || isClientLost
    perform(
      records[key]!.handleTimeout(at: step.now, roundTrip: peer.roundTrip, isPeerLost: isLost),
      of: key, &step)
  }

  /// Queues the next time at which a record needs attention.
  mutating func armRecord(_ key: RecordKey) {
    guard let wakeAt = records[key]?.wakeAt else { return }
    let queued = records[key]!.queuedAt
    if let queued, queued <= wakeAt { return }
    records[key]!.queuedLaterAt = queued
    records[key]!.queuedAt = wakeAt
    pushTimer(.record(key), at: wakeAt)
  }

  /// Queues the next time at which a remote or group transaction needs attention.
  mutating func armClient(_ client: EntityID) {
    guard let current = entities[client]?.current?.schedule else { return }
    var wakeAt = current.repeatAt
    switch current.route {
    case .local:
      // There is nothing to repeat; only the time limit can end it.
      guard let limit = current.limit else { return }
      wakeAt = limit
    case .multicast:
      if current.limit == nil {
        wakeAt = min(wakeAt, max(current.startedAt, wokeAt) + Timing.silence)
      }
    case .peer(let kernel):
      if let silentAt = peers[kernel]?.silentAt(since: wokeAt) { wakeAt = min(wakeAt, silentAt) }
      if dead.contains(kernel), let end = peers[kernel]?.searchEnd(since: current.startedAt) {
        wakeAt = min(wakeAt, end)
      }
    }
    if let limit = current.limit { wakeAt = min(wakeAt, limit) }
    if let queued = entities[client]?.queuedAt, queued <= wakeAt { return }
    entities[client]!.queuedAt = wakeAt
    pushTimer(.client(client), at: wakeAt)
  }
}
