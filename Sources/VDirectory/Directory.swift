import Synchronization
public import VProtocol
public import VRuntime

/// The directory board: the names that no single manager owns, and who claims the rest.
///
/// Every node has one. It keeps the table of claims, answers for the shared contexts from it
/// without a packet, and hands a request for a claimed prefix on to its manager, whatever the
/// operation is. With the table lost, names are still found: by QueryName, which asks the
/// managers themselves, and from the tables of the others, which all tell of everything they know.
public final class Directory: Sendable {
  struct State: Sendable {
    var table = ClaimTable()
    /// Claims on names that every host has for itself: nobody else is told or asked of them.
    var local = ClaimTable()
    var contexts = SharedContexts()
    /// Names that nobody answered for, and until when that is believed.
    var absent: [[UInt8]: Time] = [:]
    var changedAt: Int64
    /// Hosts that prefixes were refused for to managers of this one.
    var holders: [[UInt8]: String] = [:]
    var withdrawsEarlier = false
    /// The table on the disk is older than this one, and somebody is writing it.
    var isUnsaved = false
    var isSaving = false

    func place(of name: [UInt8]) -> ClaimTable.Place {
      let place = local.place(of: name)
      if case .claimed = place { return place }
      return table.place(of: name)
    }
  }

  let backplane: any Backplane
  /// The local server that takes requests on shared contexts: the root of the name space.
  public let server: EntityID
  let state: Mutex<State>
  private let client: EntityID
  private let clients: ClientPool
  private let store: ClaimStore?

  /// Names that each host's own manager answers for, one like the other.
  static let localPrefixes = [Array("group".utf8)]
  /// Claims are spread this often even without a change.
  static let spreadInterval = TimeSpan.seconds(30)
  /// Whoever serves a prefix says so in this time, a lost packet included.
  private static let claimTimeLimit = TimeSpan.milliseconds(400)
  private static let firstSpreads: [TimeSpan] = [.milliseconds(200), .seconds(1), .seconds(4)]
  /// How long a name that nobody answered for is not asked for again.
  static let absenceInterval = TimeSpan.seconds(5)
  /// A name that no manager has answered for in this time does not exist.
  static let queryTimeLimit = TimeSpan.milliseconds(200)
  /// Names believed absent at once; beyond it all are forgotten.
  static let absentMax = 1024

  /// `store` keeps the table from one boot to the next.
  ///
  /// `register` makes the server that every node
  /// has under `directoryDiscriminator`; without it, it is one like any other.
  public init(
    _ backplane: any Backplane, store: ClaimStore? = nil,
    register: ((@escaping Procedure) -> EntityID)? = nil
  ) {
    self.backplane = backplane
    self.store = store
    let table = ClaimTable(octets: store?.load() ?? [])
    state = Mutex(State(table: table, changedAt: backplane.wallClock))
    client = backplane.makeClient(user: "root")
    clients = ClientPool(backplane)
    let cell = DirectoryCell()
    let procedure: Procedure = { cell.directory?.serve($0) }
    server = register?(procedure) ?? backplane.makeServer(knowsPrincipals: true, procedure)
    let listener = backplane.makeServer(knowsPrincipals: false) { cell.directory?.hear($0) }
    backplane.join(listener, group: .nameHandlingGroup)
    cell.set(self)
    spreadSoon(wantsAnswer: true)
    spreadLater()
  }

  /// What programs of this host start from.
  public var nameSpace: NameSpace {
    NameSpace(
      directory: server, root: SharedContexts.root, identity: SharedContexts.identity(of: []))
  }

  // MARK: claims

  /// The host that has a prefix, as far as this one has heard.
  public func holder(of prefix: [UInt8]) -> String? {
    state.withLock { $0.holders[prefix] ?? $0.table.claim(on: prefix)?.host }
  }

  /// The claims that another node's directory knows.
  private func hear(_ request: Request) {
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
      // Who tells of it has missed what this host claims.
      case .refused: isAsked = isAsked || isHeldHere(claim.prefix)
      }
    }
    for (own, claim) in lost {
      let notice = SpreadClaims([claim], wantsAnswer: false)
      backplane.sendDatagram(notice.message, from: client, to: own.manager)
    }
    if isAsked { self.spread() }
  }

  /// Puts what another directory told in the table.
  private func take(_ claim: Claim, from kernel: KernelID) -> ClaimTable.Outcome {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let isByHolder = kernel == claim.manager.kernel
    // Another node that has this host's name: no claim can mend that.
    if claim.host == backplane.host && (isByHolder || isOwn(claim)) { return .known }
    let outcome = state.withLock { state in
      let own = state.table.claim(on: claim.prefix)
      if claim.host == backplane.host, var own, isOwn(own), claim.isNewer(than: own) {
        // An earlier boot of this host, whose clock was ahead.
        _ = state.table.tick(Int64(clamping: claim.clock))
        own.clock = state.table.tick(wallClock)
        _ = state.table.merge(own, isByHolder: true, at: now)
        return ClaimTable.Outcome.refused
      }
      let outcome = state.table.merge(claim, isByHolder: isByHolder, at: now)
      if case .news = outcome {
        state.changedAt = wallClock
        state.absent.removeAll()
      }
      return outcome
    }
    if outcome != .known { saveLater() }
    return outcome
  }

  private func isOwn(_ claim: Claim) -> Bool {
    claim.state == .present && claim.manager.kernel == client.kernel
  }

  private func isHeldHere(_ prefix: [UInt8]) -> Bool {
    state.withLock { $0.table.claim(on: prefix) }.map(isOwn) ?? false
  }

  /// Withdraws what this host claimed at earlier boots and has not claimed again: to be called once
  /// its managers have claimed what they have now, and from then on done at every spreading.
  public func withdrawEarlierClaims() {
    state.withLock { $0.withdrawsEarlier = true }
    spread()
  }

  /// Tells all directories what this one knows.
  func spread(wantsAnswer: Bool = false) {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let (claims, isChanged) = state.withLock { state in
      state.table.refresh(client.kernel, at: now)
      let isChanged =
        state.withdrawsEarlier
        && state.table.withdraw(host: backplane.host, besides: client.kernel, wallClock)
      if isChanged { state.changedAt = wallClock }
      return (state.table.entries.map(\.claim), isChanged)
    }
    if isChanged { saveLater() }
    for message in SpreadClaims.messages(claims, wantsAnswer: wantsAnswer) {
      backplane.sendDatagram(message.message, from: client, to: .nameHandlingGroup)
    }
  }

  /// Tells it again soon: what the first packets lost would otherwise be missing for half a minute.
  private func spreadSoon(wantsAnswer: Bool = false) {
    spread(wantsAnswer: wantsAnswer)
    for span in Self.firstSpreads {
      backplane.after(span) { [weak self] in self?.spread(wantsAnswer: wantsAnswer) }
    }
  }

  /// The managers of this host that have claimed prefixes.
  public var managers: Set<EntityID> {
    state.withLock { state in
      let entries = state.table.entries + state.local.entries
      return Set(entries.map(\.claim).filter(isOwn).map(\.manager))
    }
  }

  /// Finds out which managers of this host have ended: what they claimed is away until it is
  /// claimed anew.
  ///
  /// To be called when a process that may have been one has ended.
  public func probeManagers() {
    for manager in managers {
      clients.send(
        ProbeEntity(manager), as: "root", to: .manager(of: manager.kernel)
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

  /// Writes the table, where no other thread is about to.
  private func saveLater() {
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

  /// The table, if it has changed since it was last taken to be written; else nobody writes it.
  private func unsaved() -> [UInt8]? {
    state.withLock { state in
      guard state.isUnsaved else {
        state.isSaving = false
        return nil
      }
      state.isUnsaved = false
      return state.table.octets
    }
  }

  private func spreadLater() {
    backplane.after(Self.spreadInterval) { [weak self] in
      self?.spread()
      self?.spreadLater()
    }
  }

  /// A manager of this host claims a prefix: refused while another's claim is answered for.
  func claim(_ operation: ClaimName, _ request: Request) {
    guard operation.manager.kernel == client.kernel, request.isLocal,
      request.principal?.user == "root"
    else { return backplane.refuse(.noPermission, request) }
    if Self.localPrefixes.contains(operation.name.name) {
      return claim(operation, request, heldBy: .none)
    }
    // The table may be as new as this node: those who serve the prefix are asked themselves.
    let holder = Mutex(EntityID.none)
    let asker = backplane.makeClient(user: "root")
    backplane.send(
      QueryName(ContextName(.none, operation.name.name)).message, from: asker,
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

  /// `found` said just now that it serves the prefix; if it is none, the prefix is free unless its
  /// holder lives and keeps it.
  private func claim(_ operation: ClaimName, _ request: Request, heldBy found: EntityID) {
    let prefix = operation.name.name
    var holder = found
    if found == .none {
      let known = state.withLock { $0.local.claim(on: prefix) ?? $0.table.claim(on: prefix) }
      guard let known, known.state == .present, known.manager != operation.manager,
        known.host != backplane.host || known.manager.kernel == client.kernel
      else { return accept(operation, request) }
      holder = known.manager
    }
    clients.send(
      ProbeEntity(holder), as: "root", to: .manager(of: holder.kernel)
    ) { [self] answer in
      if case .done(let holder, _) = answer {
        // A server speaks for no user: its principal is `@host`.
        let host = holder.principal.split(separator: "@").last.map(String.init)
        state.withLock { $0.holders[prefix] = host }
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
      state.changedAt = wallClock
      if isLocal { return state.local.merge(claim, isByHolder: true, at: now) }
      return state.table.merge(claim, isByHolder: true, at: now)
    }
    guard outcome != .refused else { return backplane.refuse(.noServerResources, request) }
    backplane.reply(Done(), to: request)
    if isLocal { return }
    saveLater()
    spreadSoon()
  }

  // MARK: names beyond the table

  /// Asks the managers for a name that the table does not know, then calls `found`.
  func search(
    _ name: [UInt8], _ found: @escaping @Sendable (QueryName.Answer?) -> Void
  ) {
    let now = backplane.now
    let isAbsent = state.withLock { state in
      state.absent[name].map { $0 > now } ?? false
    }
    guard !isAbsent, Claim.isPrefix(name) else { return found(nil) }
    clients.send(
      QueryName(ContextName(.none, name)), as: "root", to: .nameHandlingGroup,
      options: SendOptions(timeLimit: Self.queryTimeLimit)
    ) { [self] answer in
      guard case .done(let value, _) = answer else {
        state.withLock { state in
          if state.absent.count >= Self.absentMax { state.absent.removeAll() }
          state.absent[name] = backplane.now + Self.absenceInterval
        }
        return found(nil)
      }
      found(value)
    }
  }
}

/// Where a directory keeps its table of claims while its node is down.
///
/// With the table lost, what is known of hosts that are away is lost, unless others tell.
public struct ClaimStore: Sendable {
  /// What was saved last; nothing where that is not to be had.
  public var load: @Sendable () -> [UInt8]
  /// Replaces what was saved, whole or not at all; may wait.
  public var save: @Sendable ([UInt8]) -> Void

  public init(
    load: @escaping @Sendable () -> [UInt8], save: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.load = load
    self.save = save
  }
}

/// Lets procedures that exist before their directory find it; weak, so that neither keeps the
/// other.
private final class DirectoryCell: Sendable {
  private struct Reference: Sendable { weak var value: Directory? }
  private let reference = Mutex(Reference())

  var directory: Directory? { reference.withLock { $0.value } }
  func set(_ directory: Directory) { reference.withLock { $0.value = directory } }
}
