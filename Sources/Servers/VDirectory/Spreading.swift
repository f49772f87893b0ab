import Synchronization
import VProtocol
import VRuntime

/// Spreading claims and hearing them.
extension Directory {
  /// Claims are spread this often even without a change.
  static let spreadInterval = TimeSpan.seconds(30)
  private static let firstSpreads: [TimeSpan] = [.milliseconds(200), .seconds(1), .seconds(4)]

  private static let savedDaily = TimeSpan.seconds(86_400).nanoseconds

  /// Hears the claims of another node's directory.
  func hear(_ request: Request) {
    guard request.message.mcb.code == SpreadClaims.code,
      let spread = try? SpreadClaims(parsing: request.message),
      request.client.kernel != client.kernel
    else { return }
    var isAsked = spread.wantsAnswer
    var lost: [(prefix: Claim, to: Claim)] = []
    for claim in spread.claims {
      switch take(claim, from: request.client.kernel) {
      case .news(let replaced?) where isOwn(replaced) && !isOwn(claim):
        lost.append((replaced, claim))
      case .news: break
      case .known: continue
      // The other host has missed a newer claim of this host.
      case .refused: isAsked = isAsked || isHeldHere(claim.prefix)
      }
    }
    for (own, claim) in lost {
      let notice = SpreadClaims([claim], wantsAnswer: false)
      backplane.sendDatagram(notice.message, from: client, to: own.manager)
    }
    if isAsked { answer() }
  }

  /// Merges a claim of another directory into the table.
  private func take(_ claim: Claim, from kernel: KernelID) -> ClaimTable.Outcome {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let isOfThisHost = claim.host == backplane.host
    // Another node has this host's name: its claims cannot be merged.
    if isOfThisHost && (kernel == claim.manager.kernel || isOwn(claim)) { return .known }
    // No other host is believed about this host's managers.
    if !isOfThisHost && claim.manager.kernel == client.kernel { return .known }
    let (outcome, isChanged) = state.withLock { state in
      let own = state.table.claim(on: claim.prefix)
      if isOfThisHost, var own, isOwn(own), claim.isNewer(than: own),
        ClaimTable.isBelieved(claim.clock, wallClock)
      {
        // An earlier boot of this host, whose clock was ahead.
        _ = state.table.tick(Int64(clamping: claim.clock))
        own.clock = state.table.tick(wallClock)
        _ = state.table.merge(own, from: nil, at: now, wallClock)
        return (ClaimTable.Outcome.refused, true)
      }
      let outcome = state.table.merge(claim, from: kernel, at: now, wallClock)
      guard case .news = outcome else { return (outcome, false) }
      state.changedAt = wallClock
      state.absent.removeAll(around: claim.prefix)
      return (outcome, true)
    }
    if isChanged { saveLater() }
    return outcome
  }

  private func isHeldHere(_ prefix: [UInt8]) -> Bool {
    state.withLock { $0.table.claim(on: prefix) }.map(isOwn) ?? false
  }

  /// Withdraws claims of this host's earlier boots that were not made again: called once its
  /// managers have made their claims, and from then on done at every spreading.
  public func withdrawEarlierClaims() {
    state.withLock { $0.withdrawsEarlier = true }
    spread()
  }

  /// Spreads the claims of the table to all directories.
  func spread(wantsAnswer: Bool = false) {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let (claims, isChanged) = state.withLock { state in
      state.table.refresh(client.kernel, at: now)
      var isChanged =
        state.withdrawsEarlier
        && state.table.withdraw(host: backplane.host, besides: client.kernel, wallClock)
      if state.table.restamp(client.kernel, wallClock) { isChanged = true }
      if state.table.forget(after: state.forgetsAfter, at: now, wallClock) { isChanged = true }
      if isChanged { state.changedAt = wallClock }
      // Since when others are silent is kept too, to the day.
      return (state.table.claims, isChanged || wallClock - state.savedAt > Self.savedDaily)
    }
    if isChanged { saveLater() }
    for message in SpreadClaims.messages(claims, wantsAnswer: wantsAnswer) {
      backplane.sendDatagram(message.message, from: client, to: .nameHandlingGroup)
    }
  }

  /// Spreads the claims to hosts that asked: once in a while, however many ask and however often.
  private func answer() {
    let now = backplane.now
    let wait = state.withLock { state -> TimeSpan? in
      guard !state.isAnswerDue else { return nil }
      state.isAnswerDue = true
      guard let last = state.answeredAt else { return TimeSpan(nanoseconds: 0) }
      return max(last + DirectoryLimits.answerInterval - now, TimeSpan(nanoseconds: 0))
    }
    guard let wait else { return }
    let tell: @Sendable () -> Void = { [weak self] in
      guard let self else { return }
      let now = backplane.now
      state.withLock { ($0.isAnswerDue, $0.answeredAt) = (false, now) }
      spread()
    }
    if wait.nanoseconds == 0 { tell() } else { backplane.after(wait, tell) }
  }

  /// Spreads them again soon: claims in lost packets would otherwise be missing for half a minute.
  func spreadSoon(wantsAnswer: Bool = false) {
    spread(wantsAnswer: wantsAnswer)
    for span in Self.firstSpreads {
      backplane.after(span) { [weak self] in self?.spread(wantsAnswer: wantsAnswer) }
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
        let isShared = state.withLock { state in
          _ = state.local.markAway(manager, wallClock)
          return state.table.markAway(manager, wallClock)
        }
        guard isShared else { return }
        saveLater()
        spreadSoon()
      }
    }
  }

  /// Writes the table, unless another thread is about to.
  func saveLater() {
    guard let store else { return }
    let begins = state.withLock { state in
      state.isUnsaved = true
      defer { state.isSaving = true }
      return !state.isSaving
    }
    guard begins else { return }
    backplane.disk { [self] in
      while let octets = unsaved() { store.save(octets) }
    }
  }

  /// The table, if it has changed since it was last written; else no thread writes it from now on.
  private func unsaved() -> [UInt8]? {
    let now = backplane.now
    let wallClock = backplane.wallClock
    return state.withLock { state in
      guard state.isUnsaved else {
        state.isSaving = false
        return nil
      }
      state.isUnsaved = false
      state.savedAt = wallClock
      return state.table.octets(at: now, wallClock)
    }
  }

  func spreadLater() {
    backplane.after(Self.spreadInterval) { [weak self] in
      self?.spread()
      self?.spreadLater()
    }
  }
}
