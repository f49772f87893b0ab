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
    if Self.localPrefixes.contains(operation.name.name) {
      return claim(operation, request, heldBy: .none)
    }
    // The table may be as new as this node, so the name handling group is asked for the prefix.
    let holder = Mutex(EntityID.none)
    let asker = backplane.makeClient(user: "root")
    backplane.send(
      QueryName(ContextName(.none, operation.name.name)).message,
      PartySend(.directory, to: .memory), from: asker,
      to: .nameHandlingGroup,
      options: SendOptions(timeLimit: Self.claimTimeLimit, collectsResponses: true)
    ) { [self, client] response in
      guard response.code.isOK else {
        backplane.retire(asker)
        return claim(operation, request, heldBy: holder.withLock { $0 })
      }
      guard let found = try? QueryName.Answer(parsing: response.message),
        found.kind == .context, found.prefixBytes == operation.name.name.count,
        found.manager.kernel != client.kernel
      else { return }
      holder.withLock { $0 = found.manager }
    }
  }

  /// `found` answered just now for the prefix; if it is `none`, the prefix is free unless its
  /// manager is alive and keeps it.
  private func claim(_ operation: ClaimName, _ request: Request, heldBy found: EntityID) {
    let prefix = operation.name.name
    var holder = found
    if found == .none {
      let (known, stand) = state.withLock { state in
        (state.local.claim(on: prefix) ?? state.table.claim(on: prefix), state.yielding[prefix])
      }
      guard let known, known.state == .present, known.manager != operation.manager,
        known.manager != stand,
        known.host != backplane.host || known.manager.kernel == client.kernel
      else { return accept(operation, request) }
      holder = known.manager
    }
    clients.send(
      ProbeEntity(holder), as: "root", to: .manager(of: holder.kernel), at: .kernelManager
    ) { [self] answer in
      if case .done(let holder, _) = answer {
        // A server acts for no user: its principal is `@host`.
        let host = holder.host
        state.withLock { state in
          if state.holders.count >= DirectoryLimits.holdersMax { state.holders = [:] }
          state.holders[prefix] = host
        }
      } else if found == .none {
        return accept(operation, request)
      }
      backplane.refuse(.duplicateName, request)
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
    guard outcome != .refused else { return backplane.refuse(.noServerResources, request) }
    backplane.reply(Done(), to: request)
    if isLocal { return }
    saveLater()
    spreadSoon()
  }
}
