import Synchronization
import VObjects
import VProtocol
import VRuntime

/// Hearing the claims of other directories, and fetching what is lacking here.
extension Directory {
  /// Hears another node's directory.
  func hear(_ request: Request) {
    let kernel = request.client.kernel
    guard kernel != client.kernel else { return }
    switch request.message.mcb.code {
    case SpreadClaims.code:
      guard let spread = try? SpreadClaims(parsing: request.message) else { return }
      let heard = take(spread.claims, from: kernel)
      if heard.isStale || spread.wantsAnswer { answer(own: heard.isStale) }
    case SpreadDigest.code:
      guard let spread = try? SpreadDigest(parsing: request.message),
        spread.directory.kernel == kernel
      else { return }
      // Most are equal, and say no more than that their host stands by its claims.
      let now = backplane.now
      let isEqual = state.withLock { state in
        guard state.table.digest == spread.digest else { return false }
        state.table.hearAll(of: kernel, at: now)
        return true
      }
      if !isEqual, take(spread.claims, from: kernel).isStale { answer(own: true) }
      compare(spread)
    default: break
    }
  }

  /// Merges claims of another directory into the table, and tells this host's managers which of
  /// their prefixes are lost.
  ///
  /// `isStale` if the other host has missed a newer claim of this host.
  private func take(_ claims: [Claim], from kernel: KernelID) -> (isNews: Bool, isStale: Bool) {
    var (isNews, isStale) = (false, false)
    var lost: [(prefix: Claim, to: Claim)] = []
    for claim in claims {
      switch take(claim, from: kernel) {
      case .news(let replaced):
        isNews = true
        if let replaced, isOwn(replaced), !isOwn(claim) { lost.append((replaced, claim)) }
      case .known: continue
      case .refused: isStale = isStale || isHeldHere(claim.prefix)
      case .noRoom(let bound): noteLeftOut(claim, bound)
      }
    }
    for (own, claim) in lost {
      let notice = SpreadClaims([claim], wantsAnswer: false)
      backplane.sendDatagram(notice.message, from: client, to: own.manager)
    }
    return (isNews, isStale)
  }

  private func take(_ claim: Claim, from kernel: KernelID) -> ClaimTable.Outcome {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let isOfThisHost = claim.host == backplane.host
    // Another node has this host's name: its claims cannot be merged.
    if isOfThisHost && (kernel == claim.manager.kernel || isOwn(claim)) { return .known }
    // No other host is believed about this host's managers.
    if !isOfThisHost && claim.manager.kernel == client.kernel { return .known }
    let (outcome, isChanged) = state.withLock { state in
      let known = state.table.claim(on: claim.prefix)
      if isOfThisHost || claim.state != .present, var own = known, isOwn(own),
        claim.isNewer(than: own), ClaimTable.isBelieved(claim.clock, wallClock)
      {
        // An earlier boot of this host, whose clock was ahead; or another host has withdrawn or
        // forgotten what it knew of the prefix, which nobody else has.
        state.table.see(claim.clock)
        own.clock = state.table.tick(wallClock)
        _ = state.table.merge(own, from: nil, at: now, wallClock)
        return (ClaimTable.Outcome.refused, true)
      }
      if known == nil, ClaimTable.isPast(claim, state.forgetsAfter, wallClock) {
        return (.known, false)
      }
      let outcome = state.table.merge(claim, from: kernel, at: now, wallClock)
      guard case .news = outcome else { return (outcome, false) }
      state.changedAt = wallClock
      state.absent.removeAll(around: claim.prefix)
      state.leftOut[claim.prefix] = nil
      return (outcome, true)
    }
    if isChanged { saveLater() }
    return outcome
  }

  private func isHeldHere(_ prefix: [UInt8]) -> Bool {
    state.withLock { $0.table.claim(on: prefix) }.map(isOwn) ?? false
  }

  /// Spreads what this host has to hosts that lack it: once in a while, however many there are.
  private func answer(own: Bool) {
    let now = backplane.now
    let random = backplane.random()
    let wait = state.withLock { state in
      state.exchange.want(own: own, hosts: state.table.index.hostCount, random, at: now)
    }
    guard let wait else { return }
    let tell: @Sendable () -> Void = { [weak self] in
      guard let self else { return }
      let now = backplane.now
      if state.withLock({ $0.exchange.takeAnswer(at: now) }) { spread() }
    }
    if wait.nanoseconds == 0 { tell() } else { backplane.after(wait, tell) }
  }

  // MARK: fetching

  private func compare(_ spread: SpreadDigest) {
    let random = backplane.random()
    let wait = state.withLock { state in
      state.exchange.hear(
        spread.digest, of: spread.directory, state.table.digest,
        hosts: state.table.index.hostCount, random)
    }
    guard let wait else { return }
    backplane.after(wait) { [weak self] in self?.fetch() }
  }

  private func fetch() {
    let source = state.withLock { $0.exchange.takeSource($0.table.digest) }
    guard let source else { return }
    fetch(source.buckets, from: source.directory, at: 0, isFruitful: false)
  }

  private func fetch(
    _ buckets: UInt64, from directory: EntityID, at start: UInt64, isFruitful: Bool,
    answers: Int = 1
  ) {
    clients.send(
      QueryClaims(buckets, from: start), as: "nobody", to: directory, at: .memory
    ) { [weak self] answer in
      guard let self else { return }
      guard case .done(let answer, _) = answer else { return endFetch(isFruitful) }
      let isFruitful = take(answer.claims, from: directory.kernel).isNews || isFruitful
      guard answer.next > start, answers < Exchange.answersMax else { return endFetch(isFruitful) }
      fetch(
        buckets, from: directory, at: answer.next, isFruitful: isFruitful, answers: answers + 1)
    }
  }

  private func endFetch(_ isFruitful: Bool) {
    state.withLock { $0.exchange.endFetch(isFruitful: isFruitful) }
  }
}
