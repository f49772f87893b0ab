import Synchronization
public import VObjects
public import VProtocol
public import VRuntime

/// The group server of one host: the members of groups on this host, and `/v/group` for its users.
///
/// ```
/// NAME/members/MEMBER     touch joins, rm leaves; a mailbox is read here
/// NAME/send               one Send to all members, then the answer of each
/// NAME/datagram           the same, without answers
/// NAME/status             the group
/// ```
/// Every host has its own group server, which asks the others; so its prefix is the same on every
/// host.
public final class GroupServer: Sendable {
  let backplane: any Backplane
  let kernel: KernelID
  let groupServers: GroupQueries
  let clients: ClientPool
  let table: Mutex<GroupTable>
  let views = Mutex(GroupViews())
  let looks = GroupLooks()
  /// Names that are being looked up, by their callers.
  let lookups: Mutex<Shares>
  let reports: Mutex<GroupReports>
  /// Messages that are being sent, by their senders.
  let sendings: Mutex<Shares>
  /// Messages that wait in mailboxes.
  let kept: MessageShares
  /// The members of the system's own groups, and how long they count as known.
  let systemMembers = Mutex<[Name: (names: [Name], until: Time)]>([:])
  /// The directory by which programs of this host are found by name.
  let directory = Mutex(EntityID.none)
  private let programs: LifeWatch
  /// A client for datagrams to programs.
  let teller: EntityID
  /// The manager of `/v/group`.
  public let manager: TreeManager

  /// The prefix of the group server of every node.
  public static let prefix = "group"

  public init(_ backplane: any Backplane) {
    self.backplane = backplane
    let host = backplane.host
    clients = ClientPool(backplane, of: .groupServer)
    table = Mutex(GroupTable(host: host))
    reports = Mutex(GroupReports(host: host))
    lookups = Mutex(Shares(capacity: Self.lookupsMax, ownHost: host))
    sendings = Mutex(Shares(capacity: Self.sendingsMax, ownHost: host))
    kept = MessageShares(host: host)
    let own = LateBound<GroupServer>()
    // The answers depend on the sender, so the server gets principals.
    let server = backplane.makeServer(knowsPrincipals: true) { own.object?.serve($0) }
    kernel = server.kernel
    groupServers = GroupQueries(backplane, kernel: kernel) { name, answer in
      own.object?.end(name, for: GroupTraits(answer))
    }
    programs = LifeWatch(backplane, of: { own.object?.programsHere ?? [] }) { entity, life in
      if life.state == nil { own.object?.forget(program: entity) }
    }
    teller = backplane.makeClient(user: "root")
    manager = TreeManager(
      backplane, Self.rootContext(own), identify: { GroupUser.caller(of: $0, at: host) })
    own.bind(self)
    backplane.join(server, group: .groupManagerGroup)
  }

  /// Each asks every group server, and takes an entity until all have answered.
  package static let lookupsMax = 256
  /// Each message takes an entity and packets of every member's host until it is answered.
  private static let sendingsMax = 1024

  /// Claims the prefix in the directory of this host, which does not spread it.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    self.directory.withLock { $0 = directory }
    findHosts(directory)
    clients.send(
      ClaimName(
        prefix: Array(Self.prefix.utf8), context: TreeManager.root, manager: manager.server),
      as: "root", to: directory, at: .directory
    ) { answer in
      if case .refused(let refusal) = answer { return completion(refusal.code) }
      completion(.ok)
    }
  }

  /// Finds the hosts that exist, heard or not: their names are in a context of which every node
  /// serves a part.
  private func findHosts(_ directory: EntityID) {
    clients.send(
      CreateInstance(
        ContextName(ContextID(rawValue: 1), Array("host".utf8)), mode: [.read, .directory]),
      as: "root", to: directory, at: .directory
    ) { [self] answer in
      guard case .done(let opened, let manager) = answer else { return }
      readHosts(opened.instance, manager, from: 0, [])
    }
  }

  private func readHosts(
    _ instance: InstanceID, _ manager: EntityID, from position: UInt64, _ found: Set<String>
  ) {
    clients.send(
      ReadInstance(instance, position: position, count: Message.segmentBytesMax), as: "root",
      to: manager, at: .node
    ) { [self] answer in
      var (hosts, next) = (found, position)
      if case .done(let block, _) = answer, found.count < Self.hostsMax {
        var reader = SegmentReader(block.data)
        while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
          next = record.nextPosition
          // The links self and any lead to hosts that are found anyway.
          if record.kind.isContext { hosts.insert(String(decoding: record.name, as: UTF8.self)) }
        }
      }
      // The end, or positions that do not grow.
      guard next > position else {
        groupServers.expect(hosts)
        clients.send(ReleaseInstance(instance), as: "root", to: manager, at: .node) { _ in }
        return
      }
      readHosts(instance, manager, from: next, hosts)
    }
  }

  /// More are not waited for.
  private static let hostsMax = 256

  // MARK: looking

  /// What this group server has of a group.
  func ownAnswer(_ name: Name) -> QueryGroup.Answer? {
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
      answer.members = group.members.values.map {
        QueryGroup.Member($0.name, owner: $0.owner, program: $0.program)
      }
      return answer
    }
  }

  /// Looks up a group; nil if it does not exist.
  func look(at name: Name, _ found: @escaping @Sendable (GroupView?) -> Void) {
    lookThoroughly(at: name) { found($0.view) }
  }

  /// The same, with the hosts that did not answer.
  func lookThoroughly(at name: Name, _ found: @escaping GroupLooks.Found) {
    let look: GroupLooks.Look = { [self] found in
      table.withLock { $0.noteLook(at: name, backplane.now) }
      groupServers.ask(name) { [self] others in
        let all = others.answers + [ownAnswer(name)].compactMap(\.self)
        let view = GroupView(all, silent: others.silent)
        views.withLock { $0.note(view, of: name, at: backplane.now) }
        found(GroupLook(view: view, silent: others.silent))
      }
    }
    looks.add(name, look, found)
  }

  /// Looks up a name for a caller who uses it or changes its group, within the caller's share;
  /// beyond that `refused` is called in place of `found`.
  func look(
    for caller: Caller, at name: Name, _ refused: Outcome,
    _ found: @escaping @Sendable (GroupView?) -> Void
  ) {
    guard takeLookup(for: caller.principal, refused) else { return }
    look(at: name) { [self] view in
      lookups.withLock { $0.give(caller.principal) }
      found(view)
    }
  }

  /// The same for a caller who lists all names.
  func lookAround(for caller: Caller, _ done: @escaping Outcome) {
    guard takeLookup(for: caller.principal, done) else { return }
    lookAround { [self] in
      lookups.withLock { $0.give(caller.principal) }
      done(nil)
    }
  }

  private func takeLookup(for principal: Principal, _ refused: Outcome) -> Bool {
    if lookups.withLock({ $0.take(principal) }) { return true }
    refused(Refusal(.busy, "\(principal) looks for too many groups at once on \(backplane.host)"))
    return false
  }

  /// Ends a group of this group server if another one of its name is older.
  ///
  /// They were made while their hosts did not hear each other. Members of the younger one would
  /// receive the messages to the older one.
  private func end(_ name: Name, for other: GroupTraits) {
    for member in table.withLock({ $0.end(name, for: other) }) { dismiss(member, of: name) }
  }

  /// Finds out which groups exist.
  private func lookAround(_ done: @escaping @Sendable () -> Void) {
    let look: GroupLooks.Look = { [self] found in
      groupServers.ask("") { [self] others in
        let all = others.answers + [ownAnswer("")].compactMap(\.self)
        let names = Set(all.flatMap { $0.members.map(\.name) })
        views.withLock { $0.note(names: names) }
        found(GroupLook(view: nil, silent: others.silent))
      }
    }
    looks.add("", look) { _ in done() }
  }

  // MARK: requests of group servers and clients

  private func serve(_ request: Request) {
    switch request.message.mcb.code {
    case QueryGroup.code: answer(request)
    case ChangeGroup.code: change(request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  /// The names of groups are public, as `/v/group` shows them; the members of one are not.
  private func answer(_ request: Request) {
    let caller = GroupUser.caller(of: request, at: backplane.host)
    let isGroupServer = GroupUser.isGroupServer(caller.principal)
    if isGroupServer { groupServers.note(request.client.kernel, of: caller.principal.host) }
    backplane.serve(QueryGroup.self, request) { query in
      guard let answer = ownAnswer(query.name) else {
        // A group server without such a group at least tells the others its host.
        let words = isGroupServer ? backplane.host : ""
        return backplane.reply(Refusal(.notFound, words).message, to: request)
      }
      let about = GroupTraits(answer)
      let isAllowed = query.name.isEmpty || about.mayBePassed(by: caller, at: backplane.host)
      guard isGroupServer || isAllowed else { return backplane.refuse(.noPermission, request) }
      backplane.reply(answer, to: request)
      if isGroupServer && !query.name.isEmpty { lookLater(at: query.name) }
    }
  }

  /// Another group server asks for a group that is here too: if it has an older one, this group
  /// server must learn that.
  private func lookLater(at name: Name) {
    let isDue = table.withLock { $0.isLookDue(at: name, backplane.now) }
    if isDue { look(at: name) { _ in } }
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

  /// A program has ended: it leaves its groups.
  func forget(program: EntityID) {
    let memberships = table.withLock { table in
      table.groups.flatMap { name, group in
        group.members.values.compactMap { member -> (Name, Name)? in
          guard case .program(program) = member.receiver else { return nil }
          return (name, member.name)
        }
      }
    }
    for (group, member) in memberships { removeMember(member, of: group) }
  }

  func removeMember(_ member: Name, of group: Name) {
    guard let left = table.withLock({ $0.leave(group, member, at: backplane.now) }) else { return }
    dismiss(left, of: group)
    backplane.after(GroupTable.idleAge) { [weak self] in
      guard let self else { return }
      table.withLock { $0.forgetIdle(at: backplane.now) }
    }
  }

  /// Ends a member's process.
  private func dismiss(_ member: GroupMember, of group: Name) {
    backplane.retire(member.entity)
    switch member.receiver {
    case .mailbox(let mailbox): mailbox.close()
    case .program(let program): tell(program, .leave, group)
    }
  }
}
