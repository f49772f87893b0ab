import Synchronization
import VObjects
import VProtocol
import VRuntime

/// Joining and leaving, by the group server of the member's host.
extension GroupServer {
  /// A change that the group servers are asked for: the one of the named host answers.
  func change(_ request: Request) {
    // Every request has a principal, except a datagram of another host.
    guard request.principal != nil, let change = try? ChangeGroup(parsing: request.message),
      change.host == backplane.host
    else { return leave(request) }
    let caller = GroupUser.caller(of: request, at: backplane.host)
    perform(change, caller) { [backplane] refusal in
      guard let refusal else { return backplane.reply(Done(), to: request) }
      backplane.reply(refusal.message, to: request)
    }
  }

  /// Leaves the answer to another group server.
  ///
  /// When the client no longer waits, the request is answered all the same: else the kernel would
  /// keep it for ever.
  private func leave(_ request: Request) {
    guard !request.message.mcb.flags.contains(.datagram) else { return }
    backplane.after(ChangeGroup.timeLimit + .seconds(1)) { [backplane] in
      backplane.refuse(.notFound, request)
    }
  }

  static func noGroup(_ name: Name) -> Refusal { Refusal(.notFound, "there is no group \(name)") }

  func perform(_ change: ChangeGroup, _ caller: Caller, _ done: @escaping Outcome) {
    let user = GroupUser.name(of: caller.user, at: backplane.host)
    switch change.change {
    case .join: join(change, caller, done)
    case .leave:
      guard change.group.isGroupName else { return done(Self.noGroup(change.group)) }
      look(for: caller, at: change.group, done) { [self] view in
        let member = table.withLock { $0.groups[change.group]?.members[change.member] }
        guard let view else { return done(Self.noGroup(change.group)) }
        let actor = authority(of: caller, in: change.group, view.about)
        let isTheirs = !actor.isEmpty || member?.owner == user
        guard isTheirs || view.about.mayBePassed(by: caller, at: backplane.host) else {
          return done(
            Refusal(.noPermission, "\(change.group) belongs to \(view.about.owner)"))
        }
        guard let member else {
          return done(Refusal(.notFound, "\(change.member) is no member of \(change.group)"))
        }
        guard member.permissions.mayBeRemoved(by: actor, member.relation(to: user)) else {
          return done(Refusal(.notOwner, "\(change.member) belongs to \(member.owner)"))
        }
        removeMember(change.member, of: change.group)
        done(nil)
      }
    case .remove:
      let owner = table.withLock { $0.groups[change.group]?.about.owner }
      guard let owner else { return done(Self.noGroup(change.group)) }
      guard caller.isRoot || owner == user else {
        return done(Refusal(.notOwner, "\(change.group) belongs to \(owner)"))
      }
      done(table.withLock { $0.remove(change.group) })
    }
  }

  private func join(_ change: ChangeGroup, _ caller: Caller, _ done: @escaping Outcome) {
    let name = MemberName(change.member, on: backplane.host)
    guard name.host == backplane.host, name.refusal == nil else {
      return done(
        name.refusal
          ?? Refusal(.badArguments, "\(change.member) is no member of \(backplane.host)"))
    }
    if let refusal = GroupTable.refusal(ofGroup: change.group) { return done(refusal) }
    guard name.isProgram || isOfThisHost(caller) else { return done(Self.mailboxElsewhere) }
    // What a program's own manager reports needs no other permission.
    let isTold = caller.isRoot && caller.isLocal && change.program != .none
    let joiner = isTold && !change.owner.isEmpty ? self.caller(for: change.owner) : caller
    let owner = GroupUser.name(of: joiner.user, at: backplane.host)
    look(for: caller, at: change.group, done) { [self] view in
      guard let about = view?.about ?? (isTold ? newTraits(owner, 0o755) : nil) else {
        return done(Self.noGroup(change.group))
      }
      let relation: MembershipPermissions.Relation =
        isTold || !name.isProgram ? .itself : .samePrincipal
      // Root of this host says what a program of a user may do.
      let giver = isTold && change.permissions != nil ? caller : joiner
      guard let permissions = permissions(of: change, by: giver, about, relation) else {
        return done(Refusal(.noPermission, "\(change.group) belongs to \(about.owner)"))
      }
      let add: @Sendable (GroupMember.Receiver) -> Void = { [self] receiver in
        let member = GroupMember(
          name: name.whole, owner: owner, payer: joiner.principal, permissions: permissions,
          entity: .none, receiver: receiver)
        done(self.add(member, to: change.group, about))
      }
      guard name.isProgram else { return add(.mailbox(Mailbox(host: backplane.host, kept))) }
      if isTold { return add(.program(change.program)) }
      findProgram(name) { program in
        guard let program else {
          return done(Refusal(.notFound, "\(name.host) runs no program \(name.name)"))
        }
        guard joiner.isRoot || program.owner == owner else {
          return done(Refusal(.notOwner, "\(name.name) belongs to \(program.owner)"))
        }
        add(.program(program.entity))
      }
    }
  }

  static let mailboxElsewhere = Refusal(.badArguments, "a mailbox is made on its own host")

  /// The owner of a program of this host, as its manager reported.
  private func caller(for owner: String) -> Caller {
    let principal = GroupUser.principal(of: owner, at: backplane.host)
    return Caller(principal: principal, user: owner, isLocal: true)
  }

  func newTraits(_ owner: String, _ permissions: UInt32) -> GroupTraits {
    GroupTraits(madeAt: backplane.wallClock, owner: owner, permissions: permissions & 0o777)
  }

  /// Makes a process, and makes it a member.
  private func add(_ member: GroupMember, to group: Name, _ about: GroupTraits) -> Refusal? {
    var member = member
    let (receiver, name) = (member.receiver, member.name)
    member.entity = backplane.makeServer(knowsPrincipals: true) { [weak self] request in
      self?.receive(request, receiver, name, of: group)
    }
    if let refusal = table.withLock({ $0.join(group, about, member) }) {
      backplane.retire(member.entity)
      return refusal
    }
    backplane.join(member.entity, group: EntityID(groupNamed: group))
    if case .program(let program) = receiver {
      watchPrograms()
      tell(program, .join, group)
    }
    return nil
  }

  /// Tells a program that it is in a group, or no longer.
  func tell(_ program: EntityID, _ kind: ChangeGroup.Change, _ group: Name) {
    let change = ChangeGroup(kind, group, host: backplane.host)
    backplane.sendDatagram(change.message, from: teller, to: program)
  }
}

// MARK: - Messages

extension GroupServer {
  /// A member of this host gets a message.
  ///
  /// The sender's rights are checked here too: the name of a group is public, and so is the entity
  /// that messages go to.
  private func receive(
    _ request: Request, _ receiver: GroupMember.Receiver, _ name: Name, of group: Name
  ) {
    guard request.message.mcb.code == GroupMessage.code else {
      return backplane.refuse(.illegalRequest, request)
    }
    let caller = GroupUser.caller(of: request, at: backplane.host)
    let about = table.withLock { $0.groups[group]?.about }
    guard let about, request.principal != nil,
      about.mayBeWritten(by: caller, at: backplane.host)
    else { return refuse(request, name, of: group, about, caller) }
    backplane.serve(GroupMessage.self, request) { message in
      let sender = GroupUser.sender(caller.principal)
      switch receiver {
      case .mailbox(let mailbox):
        let isTaken = mailbox.put("\(sender): \(message.text)\n", from: caller.principal)
        backplane.reply(
          GroupMessage.Answer(
            isTaken ? .ok : .noServerResources, member: name,
            words: isTaken ? "taken" : Mailbox.full), to: request)
      case .program(let program):
        // A request to a group is not forwarded but sent again (RFC 1045, 2.15).
        clients.send(
          GroupMessage(sender: sender, text: message.text), as: "root", to: program,
          at: .teamServer,
          options: SendOptions(timeLimit: Self.programLimit)
        ) { [self] answer in
          backplane.reply(self.answer(of: name, program, answer), to: request)
        }
      }
    }
  }

  /// A sender who may know the members gets each one's name in the refusal; any other gets no name.
  private func refuse(
    _ request: Request, _ name: Name, of group: Name, _ about: GroupTraits?, _ caller: Caller
  ) {
    guard let about, about.mayBePassed(by: caller, at: backplane.host) else {
      return backplane.refuse(.noPermission, request)
    }
    backplane.reply(
      GroupMessage.Answer(
        .noPermission, member: name, words: "\(group) belongs to \(about.owner)"), to: request)
  }

  /// Less than the time that a sender waits.
  private static let programLimit = TimeSpan.milliseconds(1800)

  private func answer(
    of name: Name, _ program: EntityID, _ answer: Answer<GroupMessage.Answer>
  ) -> GroupMessage.Answer {
    switch answer {
    case .done(var answer, _):
      answer.member = name
      answer.words = GroupReports.clipped(answer.words)
      return answer
    case .refused(let refusal):
      let code = refusal.code
      if code == .nonexistentEntity { forget(program: program) }
      return GroupMessage.Answer(
        code, member: name,
        words: code == .nonexistentEntity ? "it has ended" : GroupReports.clipped("\(refusal)"))
    }
  }

  // MARK: programs

  /// A program of this host, from its `status`.
  private struct FoundProgram: Sendable {
    var entity: EntityID
    /// The user who started it, as `GroupUser` writes it.
    var owner: String
  }

  private func findProgram(
    _ name: MemberName, _ found: @escaping @Sendable (FoundProgram?) -> Void
  ) {
    let path = Array("team/\(name.host)/".utf8) + name.name.octets + Array("/status".utf8)
    clients.send(
      CreateInstance(ContextName(ContextID(rawValue: 1), path), mode: .read), as: "root",
      to: directory.withLock { $0 }, at: .teamServer
    ) { [self] answer in
      guard case .done(let opened, let manager) = answer else { return found(nil) }
      clients.send(
        ReadInstance(opened.instance, position: 0, count: 4096), as: "root", to: manager,
        at: .teamServer
      ) { [self] answer in
        clients.send(
          ReleaseInstance(opened.instance), as: "root", to: manager, at: .teamServer
        ) { _ in }
        guard case .done(let block, _) = answer else { return found(nil) }
        found(program(of: String(decoding: block.data, as: UTF8.self)))
      }
    }
  }

  private func program(of status: String) -> FoundProgram? {
    let lines = status.split(separator: "\n")
    func word(_ key: String) -> String? {
      lines.first { $0.hasPrefix("\(key) ") }.map { String($0.dropFirst(key.count + 1)) }
    }
    guard let entity = word("entity").flatMap({ EntityID($0) }),
      let starter = word("owner").flatMap({ Principal($0) })
    else { return nil }
    return FoundProgram(entity: entity, owner: GroupUser.name(of: starter))
  }
}
