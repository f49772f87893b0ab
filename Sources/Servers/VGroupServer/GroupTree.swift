import Synchronization
import VObjects
import VProtocol
import VRuntime

/// `/v/group` as a tree.
extension GroupServer {
  /// The tree of the server that is bound to `own`.
  static func rootContext(_ own: LateBound<GroupServer>) -> TreeContext {
    var root = TreeContext(
      names: { own.object?.names ?? [] }, object: { own.object?.object(named: $0) })
    root.access = TreeAccess(permissions: 0o1777)
    root.isKeptWhileOpen = true
    root.prepare = { name, caller, done in
      guard let server = own.object else { return done(gone) }
      guard let name else { return server.lookAround(for: caller, done) }
      guard GroupTable.refusal(ofGroup: name) == nil else { return done(nil) }
      server.look(for: caller, at: name, done) { _ in done(nil) }
    }
    root.make = { making, done in
      if let server = own.object { server.make(making, done) } else { done(gone) }
    }
    root.remove = { name, caller, done in
      if let server = own.object { server.remove(name, caller, done) } else { done(gone) }
    }
    return root
  }

  private static let gone = Refusal(.nonexistentEntity, "the group server has ended")

  private var names: [Name] {
    WellKnownGroup.all.map(\.name) + views.withLock { $0.names }.sorted()
  }

  private func object(named name: Name) -> TreeObject? {
    if let known = WellKnownGroup.all.first(where: { $0.name == name }) {
      return .context(context(of: known))
    }
    return views.withLock { $0.shown(name) }.map { .context(context(of: name, $0)) }
  }

  private func context(of name: Name, _ view: GroupView) -> TreeContext {
    let access: (UInt32) -> TreeAccess = { [host = backplane.host] mask in
      view.about.access(mask, at: host)
    }
    // A caller whose right to pass was checked must see this group, and not a later one of its
    // name.
    let current = { @Sendable [self] in
      views.withLock { $0[name] }.flatMap { $0.about.isSame(as: view.about) ? $0 : nil }
    }
    var list = TreeContext(
      names: { [self] in (current()?.members ?? []).map { shortName($0.name) } },
      object: { [self] member in current().flatMap { object(of: member, in: name, $0) } })
    list.access = access(0)
    list.access.permissions = 0o1777
    list.isKeptWhileOpen = true
    list.prepare = { [self] _, _, done in look(at: name) { _ in done(nil) } }
    list.make = { [self] making, done in
      guard making.kind == .file else {
        return done(Refusal(.badArguments, "touch makes a member"))
      }
      askFor(.join, of: making.name, in: name, making.caller, done)
    }
    list.remove = { [self] member, caller, done in
      askFor(.leave, of: member, in: name, caller, done)
    }
    var group = TreeContext([
      ("members", .context(list)),
      ("programs", .context(programs(list.prepare, current))),
      (
        "send",
        .file(
          SendingFile(server: self, group: name, access: access(0o666), hasReplies: true))
      ),
      (
        "datagram",
        .file(
          SendingFile(server: self, group: name, access: access(0o222), hasReplies: false))
      ),
      (
        "status",
        .text(
          TreeText(prepare: { [self] then in look(at: name) { _ in then() } }) {
            current().map { Self.status(of: name, $0) } ?? ""
          })
      ),
    ])
    group.access = access(0o777)
    return group
  }

  /// The members that are programs, by their entities, which do not say where they are: links to
  /// the same names below `team/by-id`.
  private func programs(
    _ prepare: (@Sendable (Name?, Caller, @escaping Outcome) -> Void)?,
    _ current: @escaping @Sendable () -> GroupView?
  ) -> TreeContext {
    let names: @Sendable () -> [Name] = {
      (current()?.members ?? []).map(\.program).filter(\.isValid).map { Name("\($0)") }
    }
    var programs = TreeContext(names: names) { name in
      names().contains(name) ? .link(Array("../../../team/by-id/".utf8) + name.octets) : nil
    }
    programs.prepare = prepare
    return programs
  }

  private static func status(of name: Name, _ view: GroupView) -> String {
    let permissions = String(view.about.permissions, radix: 8)
    return """
      entity \(EntityID(groupNamed: name))
      owner \(view.about.owner)
      permissions \(permissions)
      members \(view.members.count)
      hosts \(view.hosts.joined(separator: " "))

      """ + (view.silent.isEmpty ? "" : "silent \(view.silent.joined(separator: " "))\n")
  }

  // MARK: members

  /// A mailbox of this host has its own name here, every other member its host's name in front.
  private func shortName(_ whole: Name) -> Name {
    let name = MemberName(whole, on: backplane.host)
    return name.host == backplane.host && !name.isProgram ? name.name : whole
  }

  private func object(of member: Name, in group: Name, _ view: GroupView) -> TreeObject? {
    let whole = MemberName(member, on: backplane.host).whole
    guard let found = view.members.first(where: { $0.name == whole }) else { return nil }
    let here = table.withLock { $0.groups[group]?.members[whole] }
    var mailbox: Mailbox?
    if case .mailbox(let own) = here?.receiver { mailbox = own }
    let owner = GroupUser.local(found.owner, at: backplane.host)
    return .file(MemberFile(owner: owner, mailbox: mailbox))
  }

  /// Adds or removes a member, by the group server of its host.
  private func askFor(
    _ kind: ChangeGroup.Change, of member: Name, in group: Name, _ caller: Caller,
    _ done: @escaping Outcome
  ) {
    let name = MemberName(member, on: backplane.host)
    if let refusal = name.refusal { return done(refusal) }
    let isHere = name.host == backplane.host
    guard isHere || kind == .leave || name.isProgram else {
      return done(Self.mailboxElsewhere)
    }
    var change = ChangeGroup(kind, group, host: name.host)
    change.member = name.whole
    ask(change, caller) { [self] refusal in
      // The group is looked up again before the caller gets the answer.
      look(at: group) { _ in done(refusal) }
    }
  }

  private func ask(_ change: ChangeGroup, _ caller: Caller, _ done: @escaping Outcome) {
    guard isOfThisHost(caller) else { return done(Self.notHere) }
    if change.host == backplane.host {
      return perform(change, caller, done)
    }
    backplane.ask(change, by: .groupServer, as: ClientUser(caller.principal), done)
  }

  func isOfThisHost(_ caller: Caller) -> Bool {
    caller.isLocal && caller.principal.host == backplane.host
  }

  private static let notHere = Refusal(.noPermission, "every host has its own /v/group")

  // MARK: groups

  private func make(_ making: TreeContext.Making, _ done: @escaping Outcome) {
    guard making.kind == .context else {
      return done(Refusal(.badArguments, "mkdir makes a group"))
    }
    let caller = making.caller
    guard isOfThisHost(caller) else { return done(Self.notHere) }
    let owner = GroupUser.name(of: caller.user, at: backplane.host)
    let about = newTraits(owner, making.permissions)
    let refusal = table.withLock { $0.make(making.name, about, by: caller.principal) }
    if let refusal { return done(refusal) }
    look(at: making.name) { _ in done(nil) }
  }

  /// Removes a group from every group server that has it.
  private func remove(_ name: Name, _ caller: Caller, _ done: @escaping Outcome) {
    guard !WellKnownGroup.all.contains(where: { $0.name == name }) else {
      return done(Refusal(.notOwner, "\(name) is a part of the system"))
    }
    guard let view = views.withLock({ $0[name] }) else { return done(Self.noGroup(name)) }
    guard view.members.isEmpty else {
      return done(Refusal(.contextNotEmpty, "\(name) has members"))
    }
    let left = Mutex((count: view.hosts.count, refusal: Refusal?.none))
    for host in view.hosts {
      ask(ChangeGroup(.remove, name, host: host), caller) { [self] refusal in
        let (isLast, refusal) = left.withLock { left in
          left.count -= 1
          left.refusal = left.refusal ?? refusal
          return (left.count == 0, left.refusal)
        }
        if isLast { look(at: name) { _ in done(refusal) } }
      }
    }
  }
}

extension ClientUser {
  /// Sends for a principal of this host, with the rights that it came with.
  init(_ principal: Principal) {
    self.init(principal.user, marks: principal.marks.intersection(.fullRoot))
  }
}
