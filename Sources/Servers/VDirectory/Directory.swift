import Synchronization
import VObjects
public import VProtocol
public import VRuntime

/// The directory: the names above all prefixes, and the claims on prefixes.
///
/// Every node has one. It keeps the table of claims, answers for the shared contexts from it
/// without a packet, and forwards a request for a claimed prefix to its manager, whatever the
/// operation is. If the table is lost, names are still found: by QueryName, which asks the managers
/// themselves, and from the tables of other hosts, which answer for everything they know.
public final class Directory: Sendable {
  struct State: Sendable {
    var table: ClaimTable
    /// Claims on names that every host has for itself: they are neither spread nor asked for.
    var local = ClaimTable()
    var absent: AbsentNames
    /// Names that are being asked for.
    var searches: Shares
    /// Questions to the name handling group for names that are not in the table.
    var questions = 0
    var changedAt: Int64
    /// The hosts that had a prefix when a manager of this host was refused it.
    var holders: [[UInt8]: String] = [:]
    /// Claims that yield: prefixes of this host that the next claim on them gets, with their
    /// stand-ins.
    var yielding: [[UInt8]: EntityID] = [:]
    var withdrawsEarlier = false
    var exchange = Exchange()
    /// Prefixes whose claims have changed and are spread again, and the number of changes.
    var changed: Set<[UInt8]> = []
    var changes = 0
    /// Claims that found no room in the table.
    var leftOut: [[UInt8]: LeftOut] = [:]
    /// Whether the table on the disk is older, and is being written.
    var isUnsaved = false
    var isSaving = false
    /// When it was last written, and the silence after which names are forgotten.
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
  /// Tells people of bounds that are met.
  let note: @Sendable (String) -> Void
  var backplane: any Backplane { objects.backplane }

  /// Names of hosts that were silent for this long are forgotten, unless `setForgetting` sets
  /// another time.
  public static let forgetsAfter = TimeSpan.seconds(30 * 86_400)

  /// Prefixes that every host's own manager serves in the same way.
  static let localPrefixes = [Array("group".utf8), Array("team/\(QueryTeam.linksName)".utf8)]

  /// `store` keeps the table from one boot to the next.
  ///
  /// `register` makes the server that every node has under `directoryDiscriminator`; without it,
  /// the server has an ordinary identifier. `note` tells people of bounds that are met.
  public init(
    _ backplane: any Backplane, store: ClaimStore? = nil,
    note: @escaping @Sendable (String) -> Void = { _ in },
    register: ((@escaping Procedure) -> EntityID)? = nil
  ) {
    self.store = store
    self.note = note
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
    askOthers()
    spreadLater()
  }

  /// The local server for requests on shared contexts: the root of the name space.
  public var server: EntityID { objects.server }

  /// The root of names for programs of this host.
  public var nameSpace: NameSpace {
    NameSpace(
      directory: server, root: SharedContext.root, identity: SharedContext.identity(of: []))
  }

  /// The prefixes that each manager of this host has claimed, separated by commas.
  public var prefixesOfManagers: [EntityID: String] {
    state.withLock { state in
      let claims = (state.table.claims + state.local.claims).filter(isOwn)
      return Dictionary(grouping: claims, by: \.manager).mapValues { claims in
        claims.map { String(decoding: $0.prefix, as: UTF8.self) }.sorted().joined(separator: ",")
      }
    }
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

  /// How often the name handling group was asked for a name that is not in the table.
  public var questions: Int { state.withLock { $0.questions } }

  func isOwn(_ claim: Claim) -> Bool {
    claim.state == .present && claim.manager.kernel == client.kernel
  }
}
