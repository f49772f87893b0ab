internal import Synchronization
public import VProtocol
public import VRuntime

/// Whether what is open can be read or written without waiting for others, and word of when it can:
/// what poll(2) asks for.
extension Call {
  /// What can be done now; what never waits is always ready, and no manager is asked.
  public func look(_ id: OpenID, then: @escaping @Sendable (Answer<Readiness>) -> Void) {
    guard let open = client.opens[id] else { return then(.refused(.notReadable)) }
    let all: Answer<Readiness> = .done([.readable, .writeable], by: open.manager)
    guard open.waits else { return then(all) }
    use(id) {
      AwaitInstance($0, isWaiting: false)
    } then: { answer in
      switch answer {
      case .done(let answer, let manager): then(.done(answer.ready, by: manager))
      // A manager that cannot tell.
      case .refused(.illegalRequest), .refused(.notSupported): then(all)
      case .refused(let code): then(.refused(code))
      }
    }
  }
}

/// A request that waits at a manager until an instance is ready: one for each open object.
struct Watch: Sendable {
  /// The entity that waits.
  var client: EntityID
  /// What the request waits for, and what it should wait for by now.
  var sent: Readiness
  var wanted: Readiness
  /// A CancelWait names the entity, and may arrive late: it waits for nothing else any more.
  var isNamed = false
  var changed: @Sendable () -> Void
}

extension Client {
  private static let cancelInterval = TimeSpan.milliseconds(50)
  /// A manager that has no room for the request is asked again.
  private static let retryInterval = TimeSpan.seconds(1)

  /// Calls `changed` once, as soon as something of what is wanted can be done with what is open, or
  /// it has ended or is lost.
  ///
  /// A watch that is there already goes on for this too, and calls the `changed` of the last one.
  /// It is given up when the object is closed.
  public func watch(
    _ id: OpenID, for wanted: Readiness, changed: @escaping @Sendable () -> Void
  ) {
    // What never waits is always ready, and nobody is asked.
    guard let open = opens[id], open.waits else { return }
    let (isNew, isWider) = watches.withLock { watches -> (Bool, Bool) in
      guard var watch = watches[id] else {
        watches[id] = Watch(client: .none, sent: [], wanted: wanted, changed: changed)
        return (true, false)
      }
      let wasRight = watch.sent == watch.wanted
      watch.wanted.formUnion(wanted)
      watch.changed = changed
      watches[id] = watch
      return (false, wasRight && watch.sent != watch.wanted)
    }
    if isNew { sendWatch(id, open) } else if isWider { widen(id) }
  }

  private func sendWatch(_ id: OpenID, _ open: OpenObject) {
    let client = clients.take(open.user)
    let wanted = watches.withLock { watches -> Readiness in
      guard var watch = watches[id] else { return [] }
      watch.client = client
      watch.sent = watch.wanted
      watches[id] = watch
      return watch.wanted
    }
    backplane.send(
      AwaitInstance(open.instance, for: wanted, isWaiting: true), from: client, to: open.manager
    ) { [self] answer in
      let isNamed = watches.withLock { watches in
        defer {
          watches[id]?.client = .none
          watches[id]?.isNamed = false
        }
        return watches[id]?.isNamed ?? true
      }
      clients.give(client, of: open.user, isUseless: isNamed)
      finishWatch(id, open, answer)
    }
  }

  private func finishWatch(
    _ id: OpenID, _ open: OpenObject, _ answer: Answer<AwaitInstance.Answer>
  ) {
    guard opens[id] != nil else { return watches.withLock { $0[id] = nil } }
    let (sent, isToWiden) = watches.withLock { watches in
      watches[id].map { ($0.sent, $0.sent != $0.wanted) } ?? ([], false)
    }
    switch answer {
    case .refused(.interrupted) where isToWiden: return sendWatch(id, open)
    case .refused(.interrupted), .refused(.busy), .refused(.noServerResources): break
    // Whoever asks for nothing waits for an end.
    case .done(let answer, _) where !answer.ready.meets(sent): break
    default:
      watches.withLock { $0.removeValue(forKey: id) }?.changed()
      return
    }
    backplane.after(Self.retryInterval) { [self] in
      guard opens[id] != nil else { return watches.withLock { $0[id] = nil } }
      sendWatch(id, open)
    }
  }

  /// Has the request end, until it has, to send it anew: it may not have arrived yet.
  private func widen(_ id: OpenID) {
    guard let open = opens[id] else { return }
    let client = watches.withLock { watches -> EntityID in
      guard let watch = watches[id], watch.client != .none, watch.sent != watch.wanted else {
        return .none
      }
      watches[id]?.isNamed = true
      return watch.client
    }
    guard client != .none else { return }
    clients.send(CancelWait(client), as: open.user, to: open.manager) { [self] answer in
      guard case .refused = answer else { return }
      backplane.after(Self.cancelInterval) { [self] in widen(id) }
    }
  }
}
