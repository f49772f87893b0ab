import Synchronization
import VObjects
import VProtocol
import VRuntime

/// How managers of this host claim prefixes.
extension Directory {
  /// The manager of a prefix answers in this time, even if one packet is lost.
  private static let claimTimeLimit = TimeSpan.milliseconds(400)

  /// A manager of this host claims a prefix: refused while another claim stands and its manager
  /// answers.
  ///
  /// Only root with all of its rights may claim: the manager of a prefix gets everybody's requests
  /// below it.
  func claim(_ operation: ClaimName, _ caller: Caller, _ request: Request) {
    guard caller.isLocal, caller.principal.isFullRoot,
      !operation.manager.isGroup, operation.manager.kernel == client.kernel
    else { return backplane.refuse(.noPermission, request) }
    guard let known = knownHolder(against: operation) else { return ask(operation, request) }
    // A holder that answers is asked alone: managers claim again and again what it has.
    probe(known, of: operation.name.name) { [self] isAlive in
      if isAlive { return backplane.refuse(.duplicateName, request) }
      ask(operation, request, dead: known)
    }
  }

  /// The manager that has the prefix as far as this directory knows, if another one cannot just
  /// take it.
  private func knownHolder(against operation: ClaimName) -> EntityID? {
    let prefix = operation.name.name
    let (known, stand) = state.withLock { state in
      (state.local.claim(on: prefix) ?? state.table.claim(on: prefix), state.yielding[prefix])
    }
    guard let known, known.state == .present, known.manager != operation.manager,
      known.manager != stand,
      known.host != backplane.host || known.manager.kernel == client.kernel
    else { return nil }
    return known.manager
  }

  /// Asks whether a manager lives, and notes its host as that of the prefix.
  private func probe(
    _ holder: EntityID, of prefix: [UInt8], _ told: @escaping @Sendable (_ isAlive: Bool) -> Void
  ) {
    clients.send(
      ProbeEntity(holder), as: "root", to: .manager(of: holder.kernel), at: .kernelManager
    ) { [self] answer in
      guard case .done(let holder, _) = answer else { return told(false) }
      // A server acts for no user: its principal is `@host`.
      let host = holder.host
      state.withLock { state in
        if state.holders.count >= DirectoryLimits.holdersMax { state.holders = [:] }
        state.holders[prefix] = host
      }
      told(true)
    }
  }

  /// Asks the name handling group for the prefix, because the table may be as new as this node;
  /// accepts the claim if nobody answers, nor whom the table has by then.
  ///
  /// `dead` did not answer just now.
  private func ask(_ operation: ClaimName, _ request: Request, dead: EntityID? = nil) {
    let prefix = operation.name.name
    if Self.localPrefixes.contains(prefix) { return accept(operation, request) }
    let holder = Mutex(EntityID.none)
    let asker = backplane.makeClient(user: "nobody")
    backplane.send(
      QueryName(ContextName(.none, prefix)).message,
      PartySend(.directory, to: .memory), from: asker,
      to: .nameHandlingGroup,
      options: SendOptions(timeLimit: Self.claimTimeLimit, collectsResponses: true)
    ) { [self, client] response in
      if response.code.isOK {
        guard let found = try? QueryName.Answer(parsing: response.message),
          found.kind == .context, found.prefixBytes == prefix.count,
          found.manager.kernel != client.kernel
        else { return }
        return holder.withLock { $0 = found.manager }
      }
      backplane.retire(asker)
      let found = holder.withLock { $0 }
      let known = found == .none ? knownHolder(against: operation) : found
      guard let known, known != dead else { return accept(operation, request) }
      probe(known, of: prefix) { [self] isAlive in
        if isAlive || found != .none { return backplane.refuse(.duplicateName, request) }
        accept(operation, request)
      }
    }
  }

  private func accept(_ operation: ClaimName, _ request: Request) {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let isLocal = Self.localPrefixes.contains(operation.name.name)
    let outcome = state.withLock { state in
      let claim = Claim(
        prefix: operation.name.name, manager: operation.manager, context: operation.context,
        host: backplane.host, clock: state.table.tick(wallClock), state: .present)
      state.holders[claim.prefix] = nil
      state.yielding[claim.prefix] = operation.yields ? claim.manager : nil
      state.changedAt = wallClock
      state.absent.removeAll(around: claim.prefix)
      if isLocal { return state.local.merge(claim, from: nil, at: now, wallClock) }
      return state.table.merge(claim, from: nil, at: now, wallClock)
    }
    switch outcome {
    // This host's clock is set to and fro: the next try has a newer reading.
    case .refused: return backplane.refuse(.busy, request)
    case .noRoom(let bound):
      let words = Self.words(bound, of: backplane.host)
      return objects.refuse(Refusal(.noServerResources, words), request)
    case .known, .news: backplane.reply(Done(), to: request)
    }
    if isLocal { return }
    saveLater()
    spreadSoon([operation.name.name])
  }
}
