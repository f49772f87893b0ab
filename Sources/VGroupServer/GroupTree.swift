import Synchronization
import VObjects
import VProtocol
import VRuntime

/// `/v/group` as a tree.
extension GroupServer {
  var rootContext: TreeContext {
    var root = TreeContext(
      names: { [self] in
        WellKnownGroup.all.map(\.name) + views.withLock { $0.names.sorted() }
      },
      object: { [self] name in
        if let known = WellKnownGroup.all.first(where: { $0.name == name }) {
          return .context(context(of: known))
        }
        let view = views.withLock { views in
          views.groups[name] ?? (views.names.contains(name) ? GroupView.named(in: "") : nil)
        }
        return view.map { .context(context(of: name, $0)) }
      })
    root.access = TreeAccess(permissions: 0o1777)
    root.isKeptWhileOpen = true
    root.prepare = { [self] name, then in
      guard let name else { return lookAround(then) }
      guard !WellKnownGroup.all.contains(where: { $0.name == name }),
        GroupTable.refusal(ofGroup: name) == nil
      else { return then() }
      look(at: name) { _ in then() }
    }
    root.make = { [self] making, done in make(making, done) }
    root.remove = { [self] name, caller, done in remove(name, caller, done) }
    return root
  }

  private func context(of name: String, _ view: GroupView) -> TreeContext {
    var members = TreeContext(
      names: { [self] in
        (views.withLock { $0.groups[name] }?.members ?? []).map { shortName($0.name) }
      },
      object: { [self] member in object(of: member, in: name) })
    members.access = view.access(0)
    members.access.permissions = 0o1777
    members.isKeptWhileOpen = true
    members.prepare = { [self] _, then in look(at: name) { _ in then() } }
    members.make = { [self] making, done in
      guard making.kind == .file else {
        return done(Refusal(.badArguments, "touch makes a member"))
      }
      askFor(.join, of: making.name, in: name, making.caller, done)
    }
    members.remove = { [self] member, caller, done in
      askFor(.leave, of: member, in: name, caller, done)
    }
    var group = TreeContext([
      ("members", .context(members)),
      (
        "send",
        .file(
          SendingFile(server: self, group: name, access: view.access(0o666), hasReplies: true))
      ),
      (
        "datagram",
        .file(
          SendingFile(server: self, group: name, access: view.access(0o222), hasReplies: false))
      ),
      (
        "status",
        .text(
          TreeText(prepare: { [self] then in look(at: name) { _ in then() } }) { [self] in
            statusText(name)
          })
      ),
    ])
    group.access = view.access(0o777)
    return group
  }

  private func statusText(_ name: String) -> String {
    guard let view = views.withLock({ $0.groups[name] }) else { return "" }
    let permissions = String(view.about.permissions, radix: 8)
    return """
      entity \(EntityID(groupNamed: name))
      owner \(view.about.owner)
      permissions \(permissions)
      members \(view.members.count)
      hosts \(view.hosts.joined(separator: " "))

      """
  }

  // MARK: members

  /// A mailbox of this host goes by its own name, everything else with its host in front.
  private func shortName(_ whole: String) -> String {
    let name = MemberName(whole, on: backplane.host)
    return name.host == backplane.host && !name.isProgram ? name.name : whole
  }

  private func object(of member: String, in group: String) -> TreeObject? {
    let whole = MemberName(member, on: backplane.host).whole
    let view = views.withLock { $0.groups[group] }
    guard let found = view?.members.first(where: { $0.name == whole }) else { return nil }
    let here = table.withLock { $0.groups[group]?.members[whole] }
    var mailbox: Mailbox?
    if case .mailbox(let own) = here?.receiver { mailbox = own }
    return .file(MemberFile(owner: found.owner, mailbox: mailbox))
  }

  /// Makes a member come or go, by the board of its host.
  private func askFor(
    _ kind: ChangeGroup.Change, of member: String, in group: String, _ caller: TreeCaller,
    _ done: @escaping TreeOutcome
  ) {
    let name = MemberName(member, on: backplane.host)
    if let refusal = name.refusal { return done(refusal) }
    let isHere = name.host == backplane.host
    guard isHere || kind == .leave || name.isProgram else {
      return done(Refusal(.badArguments, "a mailbox is made on its own host"))
    }
    var change = ChangeGroup(kind, group, host: name.host)
    change.member = name.whole
    ask(change, caller) { [self] refusal in
      // What is there now is looked up before anybody is told.
      look(at: group) { _ in done(refusal) }
    }
  }

  private func ask(_ change: ChangeGroup, _ caller: TreeCaller, _ done: @escaping TreeOutcome) {
    guard caller.principal.host == backplane.host else { return done(Self.notHere) }
    if change.host == backplane.host {
      return perform(change, caller, isOwnRoot: caller.user == "root", done)
    }
    let client = backplane.makeClient(user: caller.principal.user)
    backplane.send(
      change.message, from: client, to: .groupManagerGroup,
      options: SendOptions(timeLimit: Self.changeLimit)
    ) { [backplane] response in
      backplane.retire(client)
      if response.code.isOK { return done(nil) }
      let isSilent = [.userTimeout, .retransmissionTimeout].contains(response.code)
      done(
        isSilent
          ? Refusal(.retransmissionTimeout, "the board of \(change.host) does not answer")
          : Refusal(response.code, String(decoding: response.message.segment, as: UTF8.self)))
    }
  }

  private static let notHere = Refusal(.noPermission, "every host has its own /v/group")
  private static let changeLimit = TimeSpan.seconds(2)

  // MARK: groups

  private func make(_ making: TreeContext.Making, _ done: @escaping TreeOutcome) {
    guard making.kind == .context else {
      return done(Refusal(.badArguments, "mkdir makes a group"))
    }
    guard making.caller.principal.host == backplane.host else { return done(Self.notHere) }
    let about = newTraits(making.caller.user, making.permissions)
    if let refusal = table.withLock({ $0.make(making.name, about) }) { return done(refusal) }
    look(at: making.name) { _ in done(nil) }
  }

  /// Takes a group away from every board that has it.
  private func remove(_ name: String, _ caller: TreeCaller, _ done: @escaping TreeOutcome) {
    guard !WellKnownGroup.all.contains(where: { $0.name == name }) else {
      return done(Refusal(.notOwner, "\(name) is a part of the system"))
    }
    guard let view = views.withLock({ $0.groups[name] }) else { return done(Refusal(.notFound)) }
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
