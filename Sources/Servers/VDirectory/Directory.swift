import Synchronization
import VObjects
public import VProtocol
public import VRuntime

/// The directory: the names that no single manager owns, and who claims the rest.
///
/// Every node has one. It keeps the table of claims, answers for the shared contexts from it
/// without a packet, and hands a request for a claimed prefix on to its manager, whatever the
/// operation is. With the table lost, names are still found: by QueryName, which asks the
/// managers themselves, and from the tables of the others, which all tell of everything they know.
public final class Directory: Sendable {
  struct State: Sendable {
    var table: ClaimTable
    /// Claims on names that every host has for itself: nobody else is told or asked of them.
    var local = ClaimTable()
    var absent: AbsentNames
    /// Names that are being asked for.
    var searches: Shares
    var changedAt: Int64
    /// Hosts that prefixes were refused for to managers of this one.
    var holders: [[UInt8]: String] = [:]
    /// Stand-ins: prefixes of this host that the next claim on them gets, and from whom.
    var yielding: [[UInt8]: EntityID] = [:]
    var withdrawsEarlier = false
    /// When the claims were last told to somebody who asked, and whether they are about to be.
    var answeredAt: Time?
    var isAnswerDue = false
    /// The table on the disk is older than this one, and somebody is writing it.
    var isUnsaved = false
    var isSaving = false
    /// When it was taken to be written, and after how long a silence names are forgotten.
    var savedAt: Int64 = 0
    var forgetsAfter = Directory.forgetsAfter

    func place(of name: [UInt8]) -> ClaimTable.Place {
      let place = local.place(of: name)
      if case .claimed = place { return place }
      return table.place(of: name)
    }
  }

  let objects: ObjectServer<SharedContext>
  /// By name: the names above prefixes, and the links in them.
  let contexts: ContextTable<Name, Name>
  let state: Mutex<State>
  let client: EntityID
  let clients: ClientPool
  let store: ClaimStore?
  var backplane: any Backplane { objects.backplane }

  /// Names of who has been away for so long are forgotten, unless `setForgetting` says otherwise.
  public static let forgetsAfter = TimeSpan.seconds(30 * 86_400)

  /// Names that each host's own manager answers for, one like the other.
  static let localPrefixes = [Array("group".utf8)]

  /// `store` keeps the table from one boot to the next.
  ///
  /// `register` makes the server that every node
  /// has under `directoryDiscriminator`; without it, it is one like any other.
  public init(
    _ backplane: any Backplane, store: ClaimStore? = nil,
    register: ((@escaping Procedure) -> EntityID)? = nil
  ) {
    self.store = store
    let host = backplane.host
    state = Mutex(
      State(
        table: ClaimTable(octets: store?.load() ?? []), absent: AbsentNames(ownHost: host),
        searches: Shares(capacity: DirectoryLimits.searchesMax, ownHost: host),
        changedAt: backplane.wallClock))
    client = backplane.makeClient(user: "root")
    clients = ClientPool(backplane, of: .directory)
    contexts = ContextTable(backplane)
    _ = contexts.grant(Name(""), Name(""), isPinned: true, as: SharedContext.root)
    objects = ObjectServer(backplane)
    objects.start(
      ObjectServer<SharedContext>.Handlers(
        create: { [weak self] in self?.serveName($2, $1, opening: $0) },
        serve: { [weak self] in self?.serve($0, $1) },
        serveInstance: { [weak self] in self?.serveInstance($0, $1) },
        label: { $0.content.name.isEmpty ? "." : "\($0.content.name)" }),
      register: register)
    let listener = backplane.makeServer(knowsPrincipals: false) { [weak self] in self?.hear($0) }
    backplane.join(listener, group: .nameHandlingGroup)
    spreadSoon(wantsAnswer: true)
    spreadLater()
  }

  /// The local server that takes requests on shared contexts: the root of the name space.
  public var server: EntityID { objects.server }

  /// What programs of this host start from.
  public var nameSpace: NameSpace {
    NameSpace(
      directory: server, root: SharedContext.root, identity: SharedContext.identity(of: []))
  }

  /// The managers of this host that have claimed prefixes.
  public var managers: Set<EntityID> {
    state.withLock { state in
      Set((state.table.claims + state.local.claims).filter(isOwn).map(\.manager))
    }
  }

  /// The host that has a prefix, as far as this one has heard.
  public func holder(of prefix: [UInt8]) -> String? {
    state.withLock { $0.holders[prefix] ?? $0.table.claim(on: prefix)?.host }
  }

  func isOwn(_ claim: Claim) -> Bool {
    claim.state == .present && claim.manager.kernel == client.kernel
  }
}
