import Synchronization
import VProtocol
import VRuntime

/// Spreading claims.
extension Directory {
  /// The digest and the own claims are spread this often even without a change.
  static let spreadInterval = TimeSpan.seconds(30)
  /// A changed claim is spread again after these times: one in a lost packet would otherwise be
  /// missing for half a minute.
  private static let repetitions: [TimeSpan] = [.milliseconds(200), .seconds(1), .seconds(4)]

  private static let savedDaily = TimeSpan.seconds(86_400).nanoseconds

  /// Withdraws claims of this host's earlier boots that were not made again: called once its
  /// managers have made their claims, and from then on done at every spreading.
  public func withdrawEarlierClaims() {
    state.withLock { $0.withdrawsEarlier = true }
    spread()
  }

  /// Spreads the digest of the table and the claims of this host to all directories.
  func spread() {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let (claims, digest, withdrawn, isToSave) = state.withLock { state in
      state.table.refresh(client.kernel, at: now)
      let withdrawn =
        state.withdrawsEarlier
        ? state.table.withdraw(host: backplane.host, besides: client.kernel, wallClock) : []
      var isChanged = !withdrawn.isEmpty
      if state.table.restamp(client.kernel, wallClock) { isChanged = true }
      if state.table.forget(after: state.forgetsAfter, at: now, wallClock) { isChanged = true }
      if isChanged { state.changedAt = wallClock }
      // Since when others are silent is kept too, to the day.
      let isToSave = isChanged || wallClock - state.savedAt > Self.savedDaily
      return (state.table.claims(of: client.kernel), state.table.digest, withdrawn, isToSave)
    }
    if isToSave { saveLater() }
    var rest = claims[...]
    let first = SpreadDigest.filled(server, digest, from: &rest)
    backplane.sendDatagram(first.message, from: client, to: .nameHandlingGroup)
    tell(Array(rest))
    if !withdrawn.isEmpty { spreadSoon(withdrawn) }
  }

  private func tell(_ claims: [Claim]) {
    for message in SpreadClaims.messages(claims) {
      backplane.sendDatagram(message.message, from: client, to: .nameHandlingGroup)
    }
  }

  /// Spreads the claims on prefixes that have changed, now and again soon.
  ///
  /// Changes that come meanwhile are repeated together with them.
  func spreadSoon(_ prefixes: [[UInt8]]) {
    let (claims, change) = state.withLock { state in
      state.changed.formUnion(prefixes)
      state.changes += 1
      return (prefixes.compactMap { state.table.claim(on: $0) }, state.changes)
    }
    tell(claims)
    for (number, span) in Self.repetitions.enumerated() {
      backplane.after(span) { [weak self] in
        self?.repeatChanges(upTo: change, isLast: number == Self.repetitions.count - 1)
      }
    }
  }

  private func repeatChanges(upTo change: Int, isLast: Bool) {
    let claims = state.withLock { state -> [Claim] in
      guard state.changes == change else { return [] }
      defer { if isLast { state.changed = [] } }
      return state.changed.sorted { $0.lexicographicallyPrecedes($1) }.compactMap {
        state.table.claim(on: $0)
      }
    }
    tell(claims)
  }

  /// Asks the other directories what they have, until one has answered.
  func askOthers() {
    let question = SpreadClaims([], wantsAnswer: true)
    backplane.sendDatagram(question.message, from: client, to: .nameHandlingGroup)
    for span in Self.repetitions {
      backplane.after(span) { [weak self] in
        guard let self, !state.withLock({ $0.exchange.hasHeard }) else { return }
        backplane.sendDatagram(question.message, from: client, to: .nameHandlingGroup)
      }
    }
  }

  func spreadLater() {
    backplane.after(Self.spreadInterval) { [weak self] in
      self?.spread()
      self?.spreadLater()
    }
  }

  /// Finds out which managers of this host have ended: their claims are away until they are made
  /// again.
  ///
  /// To be called when a process has ended that may have been a manager.
  public func probeManagers() {
    for manager in managers {
      clients.send(
        ProbeEntity(manager), as: "root", to: .manager(of: manager.kernel), at: .kernelManager
      ) { [self] answer in
        guard case .refused(.nonexistentEntity) = answer else { return }
        let wallClock = backplane.wallClock
        let prefixes = state.withLock { state in
          _ = state.local.markAway(manager, wallClock)
          return state.table.markAway(manager, wallClock)
        }
        guard !prefixes.isEmpty else { return }
        saveLater()
        spreadSoon(prefixes)
      }
    }
  }
}

// MARK: - The table on a disk

extension Directory {
  /// At least this time is between two writings of the table, which may have half a megabyte.
  private static let saveInterval = TimeSpan.seconds(1)

  /// Writes the table, now or, if it was written just now, soon.
  func saveLater() {
    guard let store else { return }
    let begins = state.withLock { state in
      state.isUnsaved = true
      defer { state.isSaving = true }
      return !state.isSaving
    }
    guard begins else { return }
    backplane.disk { [self] in
      if let octets = unsaved() { store.save(octets) }
      backplane.after(Self.saveInterval) { [weak self] in
        guard let self else { return }
        let isUnsaved = state.withLock { state in
          state.isSaving = false
          return state.isUnsaved
        }
        if isUnsaved { saveLater() }
      }
    }
  }

  /// The table, if it has changed since it was last written.
  private func unsaved() -> [UInt8]? {
    let now = backplane.now
    let wallClock = backplane.wallClock
    return state.withLock { state in
      guard state.isUnsaved else { return nil }
      state.isUnsaved = false
      state.savedAt = wallClock
      return state.table.octets(at: now, wallClock)
    }
  }
}
