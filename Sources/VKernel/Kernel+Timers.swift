public import VProtocol
import VTransport

/// What time brings.
extension Kernel {
  /// Does what is due at `now`; call it at `nextDeadline` or later.
  public mutating func handleTimers(at now: Time, into actions: inout Actions) {
    while let (time, key) = timers.popDue(at: now) {
      switch key {
      case .client(let client): handleClientTimer(client, queued: time, at: now, into: &actions)
      case .record(let key): handleRecordTimer(key, queued: time, at: now, into: &actions)
      case .probe(let transaction): probes[transaction] = nil
      }
    }
  }

  private mutating func handleClientTimer(
    _ client: EntityID, queued: Time, at now: Time, into actions: inout Actions
  ) {
    guard entities[client]?.queuedAt == queued else { return }
    entities[client]!.queuedAt = nil
    guard let server = entities[client]?.current?.server,
      let startedAt = entities[client]?.current?.startedAt
    else { return }
    let isRemote = !server.isGroup && server.kernel != id
    if isRemote, withPeer(server.kernel, at: now, { $0.checkSilence(at: now) }) {
      counters.silentPeers += 1
      finish(client, server: .none, Message(reply: .retransmissionTimeout), into: &actions)
      return
    }
    let limit = entities[client]?.current?.limit
    if server.isGroup && limit == nil && startedAt + Timing.silence <= now {
      finish(client, server: .none, Message(reply: .retransmissionTimeout), into: &actions)
      return
    }
    if server.kernel == id && !server.isGroup {
      if let limit, limit <= now {
        finish(client, server: .none, Message(reply: .userTimeout), into: &actions)
      }
      return
    }
    let roundTrip = isRemote ? peers[server.kernel]?.roundTrip ?? RoundTrip() : RoundTrip()
    let action =
      entities[client]!.current!.handleTimeout(at: now, roundTrip: roundTrip)
    perform(action, of: client, responding: nil, from: nil, at: now, into: &actions)
  }

  private mutating func handleRecordTimer(
    _ key: RecordKey, queued: Time, at now: Time, into actions: inout Actions
  ) {
    guard let record = records[key], record.queuedAt == queued else { return }
    records[key]!.queuedAt = nil
    let peer = withPeer(record.peer, at: now) { $0 }
    let action = records[key]!.handleTimeout(
      at: now, roundTrip: peer.roundTrip, isPeerLost: peer.isLost(at: now))
    perform(action, of: key, at: now, into: &actions)
  }

  /// Queues the next time that a record needs attention.
  mutating func armRecord(_ key: RecordKey) {
    guard let record = records[key] else { return }
    if let queued = record.queuedAt, queued <= record.wakeAt { return }
    records[key]!.queuedAt = record.wakeAt
    timers.push(.record(key), at: record.wakeAt)
  }

  /// Queues the next time that a remote or group transaction needs attention.
  mutating func armClient(_ client: EntityID) {
    guard let entity = entities[client], let current = entity.current else { return }
    var wakeAt = current.repeatAt
    if let limit = current.limit { wakeAt = min(wakeAt, limit) }
    if current.server.isGroup {
      if current.limit == nil { wakeAt = min(wakeAt, current.startedAt + Timing.silence) }
    } else if current.server.kernel == id {
      guard let limit = current.limit else { return }
      wakeAt = limit
    } else if let peer = peers[current.server.kernel] {
      wakeAt = min(wakeAt, peer.silentAt)
    }
    if let queued = entity.queuedAt, queued <= wakeAt { return }
    entities[client]!.queuedAt = wakeAt
    timers.push(.client(client), at: wakeAt)
  }
}
