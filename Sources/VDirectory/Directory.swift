import Synchronization
public import VProtocol
public import VRuntime

/// The directory board: the names that no single manager owns, and who claims the rest.
///
/// Every node has one. It keeps the table of claims, answers for the shared contexts from it
/// without a packet, and hands a request for a claimed prefix on to its manager, whatever the
/// operation is. With the table lost, names are still found: by QueryName, which asks the
/// managers themselves.
public final class Directory: Sendable {
  struct State: Sendable {
    var table = ClaimTable()
    var contexts = SharedContexts()
    /// Names that nobody answered for, and until when that is believed.
    var absent: [[UInt8]: Time] = [:]
    var changedAt: Int64
  }

  let backplane: any Backplane
  /// The local server that takes requests on shared contexts: the root of the name space.
  public let server: EntityID
  let state: Mutex<State>
  private let client: EntityID
  private let clients: ClientPool

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

  public init(_ backplane: any Backplane) {
    self.backplane = backplane
    state = Mutex(State(changedAt: backplane.wallClock))
    client = backplane.makeClient(user: "root")
    clients = ClientPool(backplane)
    let cell = DirectoryCell()
    server = backplane.makeServer(knowsPrincipals: true) { cell.directory?.serve($0) }
    let listener = backplane.makeServer(knowsPrincipals: false) { cell.directory?.hear($0) }
    backplane.join(listener, group: .nameHandlingGroup)
    cell.set(self)
    spread(wantsAnswer: true)
    // Again soon: what the first packets lost would otherwise be missing for half a minute.
    for span in Self.firstSpreads {
      backplane.after(span) { [weak self] in self?.spread(wantsAnswer: true) }
    }
    spreadLater()
  }

  /// What programs of this host start from.
  public var nameSpace: NameSpace {
    NameSpace(
      directory: server, root: SharedContexts.root, identity: SharedContexts.identity(of: []))
  }

  // MARK: claims

  /// A claim of another node's directory.
  private func hear(_ request: Request) {
    guard request.message.mcb.code == SpreadClaims.code,
      let spread = try? SpreadClaims(parsing: request.message)
    else { return }
    let now = backplane.now
    state.withLock { state in
      for claim in spread.claims where claim.host != backplane.host {
        let isByHolder = request.client.kernel == claim.manager.kernel
        if state.table.merge(claim, isByHolder: isByHolder, at: now) {
          state.changedAt = backplane.wallClock
        }
        state.absent.removeAll()
      }
    }
    if spread.wantsAnswer && request.client.kernel != client.kernel { self.spread() }
  }

  /// Tells all directories what this host claims.
  func spread(wantsAnswer: Bool = false) {
    let own = state.withLock { state in
      state.table.entries.map(\.claim).filter { $0.host == backplane.host }
    }
    for message in SpreadClaims.messages(own, wantsAnswer: wantsAnswer) {
      backplane.sendDatagram(message.message, from: client, to: .nameHandlingGroup)
    }
  }

  private func spreadLater() {
    backplane.after(Self.spreadInterval) { [weak self] in
      self?.spread()
      self?.spreadLater()
    }
  }

  /// A manager of this host claims a prefix: refused while another host's claim is answered for.
  func claim(_ operation: ClaimName, _ request: Request) {
    guard operation.manager.kernel == client.kernel, request.isLocal,
      request.principal?.user == "root"
    else { return backplane.refuse(.noPermission, request) }
    // The table may be as new as this node: those who serve the prefix are asked themselves.
    let isHeld = Mutex(false)
    let asker = backplane.makeClient(user: "root")
    backplane.send(
      QueryName(ContextName(.none, operation.name.name)).message, from: asker,
      to: .nameHandlingGroup,
      options: SendOptions(timeLimit: Self.claimTimeLimit, collectsResponses: true)
    ) { [self, client] response in
      guard response.code.isOK else {
        backplane.retire(asker)
        if isHeld.withLock({ $0 }) { return backplane.refuse(.duplicateName, request) }
        return claimUnheld(operation, request)
      }
      guard let found = try? QueryName.Answer(parsing: response.message),
        found.kind == .context, found.prefixBytes == operation.name.name.count,
        found.manager.kernel != client.kernel
      else { return }
      isHeld.withLock { $0 = true }
    }
  }

  /// Nobody served the prefix just now: it is free, unless its holder lives and keeps it.
  private func claimUnheld(_ operation: ClaimName, _ request: Request) {
    let holder = state.withLock { $0.table.entry(for: operation.name.name)?.claim }
    guard let holder, holder.state == .present, holder.host != backplane.host else {
      return accept(operation, request)
    }
    clients.send(
      ProbeEntity(entity: holder.manager), as: "root", to: .manager(of: holder.manager.kernel)
    ) { [self] answer in
      switch answer {
      case .done: backplane.refuse(.duplicateName, request)
      case .refused: accept(operation, request)
      }
    }
  }

  private func accept(_ operation: ClaimName, _ request: Request) {
    let now = backplane.now
    let wallClock = backplane.wallClock
    let isTaken = state.withLock { state in
      let claim = Claim(
        prefix: operation.name.name, manager: operation.manager, context: operation.context,
        host: backplane.host, clock: state.table.tick(wallClock), state: .present)
      guard state.table.merge(claim, at: now) else { return false }
      state.changedAt = wallClock
      return true
    }
    guard isTaken else { return backplane.refuse(.noServerResources, request) }
    backplane.reply(Done(), to: request)
    spread()
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

/// Lets procedures that exist before their directory find it; weak, so that neither keeps the
/// other.
private final class DirectoryCell: Sendable {
  private struct Reference: Sendable { weak var value: Directory? }
  private let reference = Mutex(Reference())

  var directory: Directory? { reference.withLock { $0.value } }
  func set(_ directory: Directory) { reference.withLock { $0.value = directory } }
}
