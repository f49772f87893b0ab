import Synchronization
public import VObjects
public import VProtocol
public import VRuntime

/// The group board of one host: who of this host is in which group, and `/v/group` for its users.
///
/// ```
/// NAME/members/MEMBER     touch joins, rm leaves; a mailbox is read here
/// NAME/send               one Send to all members, then what each of them says
/// NAME/datagram           the same, and nobody waits
/// NAME/status             the group
/// ```
/// Every host has a board of its own, which asks the others: no name of it is claimed from them.
public final class GroupServer: Sendable {
  let backplane: any Backplane
  let kernel: KernelID
  let boards: BoardQueries
  let clients: ClientPool
  let table = Mutex(GroupTable())
  /// Groups as they were when somebody last looked.
  let views = Mutex<(groups: [String: GroupView], names: Set<String>)>(([:], []))
  let reports = Mutex(GroupReports())
  /// The members of the system's own groups, until when they are believed.
  let systemMembers = Mutex<[String: (names: [String], until: Time)]>([:])
  /// Where programs of this host are found by name.
  let directory = Mutex(EntityID.none)
  private let programs: LifeWatch
  private let own: TreeCell

  /// The name of every node's own board.
  public static let prefix = "group"

  public init(_ backplane: any Backplane) {
    self.backplane = backplane
    clients = ClientPool(backplane)
    let cell = TreeCell()
    own = cell
    // Questions are answered from memory, and to everybody; what changes something has a sender.
    let listener = backplane.makeServer(knowsPrincipals: false) { cell.server?.answer($0) }
    let changer = backplane.makeServer(knowsPrincipals: true) { cell.server?.change($0) }
    kernel = listener.kernel
    boards = BoardQueries(backplane, kernel: kernel)
    programs = LifeWatch(backplane, of: { cell.server?.programsHere ?? [] }) { entity, state in
      if state == nil { cell.server?.forget(program: entity) }
    }
    cell.set(self)
    cell.set(TreeManager(backplane, rootContext))
    backplane.join(listener, group: .groupManagerGroup)
    backplane.join(changer, group: .groupManagerGroup)
  }

  /// The manager of `/v/group`.
  public var manager: TreeManager { own.manager! }

  /// Every open instance of its names as a line.
  public var instancesText: String { manager.instancesText }

  /// Tells the directory of this host, which tells nobody else.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    self.directory.withLock { $0 = directory }
    clients.send(
      ClaimName(
        prefix: Array(Self.prefix.utf8), context: TreeManager.root, manager: manager.server),
      as: "root", to: directory
    ) { answer in
      if case .refused(let code) = answer { return completion(code) }
      completion(.ok)
    }
  }

  // MARK: looking

  /// What this board has of a group.
  func ownAnswer(_ name: String) -> QueryGroup.Answer? {
    table.withLock { table in
      var answer = QueryGroup.Answer(host: backplane.host)
      if name.isEmpty {
        answer.members = table.groups.keys.sorted().map { QueryGroup.Member($0, owner: "") }
        return answer
      }
      guard let group = table.groups[name] else { return nil }
      answer.madeAt = group.about.madeAt
      answer.owner = group.about.owner
      answer.permissions = group.about.permissions
      answer.members = group.members.values.map { QueryGroup.Member($0.name, owner: $0.owner) }
      return answer
    }
  }

  /// Finds out what a group is now; nil where it is not.
  func look(at name: String, _ found: @escaping @Sendable (GroupView?) -> Void) {
    boards.ask(name) { [self] answers in
      let view = GroupView(answers + [ownAnswer(name)].compactMap(\.self))
      views.withLock { views in
        if views.groups.count >= Self.viewsMax { views.groups = [:] }
        views.groups[name] = view
        if view == nil { views.names.remove(name) }
      }
      found(view)
    }
  }

  /// Finds out which groups there are.
  func lookAround(_ done: @escaping @Sendable () -> Void) {
    boards.ask("") { [self] answers in
      let all = answers + [ownAnswer("")].compactMap(\.self)
      let names = Set(all.flatMap { $0.members.map(\.name) })
      views.withLock { $0.names = names }
      done()
    }
  }

  private static let viewsMax = 1024

  private func answer(_ request: Request) {
    guard request.message.mcb.code == QueryGroup.code else { return }
    boards.note(request.client.kernel)
    backplane.serve(QueryGroup.self, request) { query in
      guard let answer = ownAnswer(query.name) else {
        return backplane.refuse(.notFound, request)
      }
      backplane.reply(answer, to: request)
    }
  }

  // MARK: programs

  private var programsHere: Set<EntityID> {
    table.withLock { table in
      Set(
        table.groups.values.flatMap { group in
          group.members.values.compactMap { member in
            if case .program(let entity) = member.receiver { entity } else { nil }
          }
        })
    }
  }

  func watchPrograms() { programs.watchLater() }

  /// A program has ended: it is no member any more.
  func forget(program: EntityID) {
    let memberships = table.withLock { table in
      table.groups.flatMap { name, group in
        group.members.values.compactMap { member -> (String, String)? in
          guard case .program(program) = member.receiver else { return nil }
          return (name, member.name)
        }
      }
    }
    for (group, member) in memberships { removeMember(member, of: group) }
  }

  func removeMember(_ member: String, of group: String) {
    guard let left = table.withLock({ $0.leave(group, member) }) else { return }
    backplane.retire(left.entity)
    switch left.receiver {
    case .mailbox(let mailbox): mailbox.close()
    case .program(let program): tell(program, .leave, group)
    }
  }
}

/// Lets procedures that exist before their board find it, and the board its tree.
private final class TreeCell: Sendable {
  private struct Parts: Sendable {
    weak var server: GroupServer?
    var manager: TreeManager?
  }
  private let parts = Mutex(Parts())

  var server: GroupServer? { parts.withLock { $0.server } }
  var manager: TreeManager? { parts.withLock { $0.manager } }
  func set(_ server: GroupServer) { parts.withLock { $0.server = server } }
  func set(_ manager: TreeManager) { parts.withLock { $0.manager = manager } }
}
