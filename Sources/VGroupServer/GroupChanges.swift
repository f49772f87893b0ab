import Synchronization
import VObjects
import VProtocol
import VRuntime

/// Members that come and go, as their own host's board does it.
extension GroupServer {
  /// A change that somebody asks the boards for: the one of the host that is named answers.
  func change(_ request: Request) {
    guard request.message.mcb.code == ChangeGroup.code,
      let change = try? ChangeGroup(parsing: request.message), change.host == backplane.host
    else { return }
    // Not even a datagram comes from nobody: it is from this host then.
    guard let principal = request.principal else { return }
    let isOwnRoot = request.isLocal && principal.user == "root"
    let caller = TreeCaller(
      principal: principal, user: principal.user == "root" && !isOwnRoot ? "nobody" : principal.user
    )
    perform(change, caller, isOwnRoot: isOwnRoot) { [backplane] refusal in
      guard let refusal else { return backplane.reply(Done(), to: request) }
      backplane.reply(
        Message(Message(reply: refusal.code).mcb, segment: Array(refusal.words.utf8)), to: request)
    }
  }

  func perform(
    _ change: ChangeGroup, _ caller: TreeCaller, isOwnRoot: Bool, _ done: @escaping TreeOutcome
  ) {
    switch change.change {
    case .join: join(change, caller, isOwnRoot: isOwnRoot, done)
    case .leave:
      look(at: change.group) { [self] view in
        let member = table.withLock { $0.groups[change.group]?.members[change.member] }
        guard let view, let member else { return done(Refusal(.notFound)) }
        guard isOwnRoot || [member.owner, view.about.owner].contains(caller.user) else {
          return done(Refusal(.notOwner, "\(change.member) belongs to \(member.owner)"))
        }
        removeMember(change.member, of: change.group)
        done(nil)
      }
    case .remove:
      let owner = table.withLock { $0.groups[change.group]?.about.owner }
      guard let owner else { return done(Refusal(.notFound)) }
      guard isOwnRoot || owner == caller.user else {
        return done(Refusal(.notOwner, "\(change.group) belongs to \(owner)"))
      }
      done(table.withLock { $0.remove(change.group) })
    }
  }

  private func join(
    _ change: ChangeGroup, _ caller: TreeCaller, isOwnRoot: Bool, _ done: @escaping TreeOutcome
  ) {
    let name = MemberName(change.member, on: backplane.host)
    guard name.host == backplane.host, name.refusal == nil else {
      return done(name.refusal ?? Refusal(.badArguments))
    }
    if let refusal = GroupTable.refusal(ofGroup: change.group) { return done(refusal) }
    // What a program's own manager says needs no other's leave.
    let isTold = isOwnRoot && change.program != .none
    let owner = isTold && !change.owner.isEmpty ? change.owner : caller.user
    look(at: change.group) { [self] view in
      guard let about = view?.about ?? (isTold ? newTraits(owner, 0o755) : nil) else {
        return done(Refusal(.notFound, "there is no group \(change.group)"))
      }
      let member = TreeCaller(principal: caller.principal, user: owner)
      guard view == nil || view?.mayBeWritten(by: isTold ? member : caller) == true else {
        return done(Refusal(.noPermission, "\(change.group) belongs to \(about.owner)"))
      }
      guard name.isProgram else {
        let mailbox = Mailbox()
        return done(add(.mailbox(mailbox), name.whole, owner, to: change.group, about))
      }
      let take: @Sendable (EntityID?) -> Void = { [self] program in
        guard let program else {
          return done(Refusal(.notFound, "\(name.host) runs no program \(name.name)"))
        }
        done(add(.program(program), name.whole, owner, to: change.group, about))
      }
      if isTold { take(change.program) } else { findProgram(name, take) }
    }
  }

  func newTraits(_ owner: String, _ permissions: UInt32) -> GroupTraits {
    GroupTraits(madeAt: backplane.wallClock, owner: owner, permissions: permissions & 0o777)
  }

  /// Makes a process, and it a member.
  private func add(
    _ receiver: GroupMember.Receiver, _ name: String, _ owner: String, to group: String,
    _ about: GroupTraits
  ) -> Refusal? {
    let entity = backplane.makeServer(knowsPrincipals: true) { [self] request in
      receive(request, receiver, name)
    }
    let member = GroupMember(name: name, owner: owner, entity: entity, receiver: receiver)
    if let refusal = table.withLock({ $0.join(group, about, member) }) {
      backplane.retire(entity)
      return refusal
    }
    backplane.join(entity, group: EntityID(groupNamed: group))
    if case .program(let program) = receiver {
      watchPrograms()
      tell(program, .join, group)
    }
    return nil
  }

  /// Lets a program know that it is in a group, or is no longer.
  func tell(_ program: EntityID, _ kind: ChangeGroup.Change, _ group: String) {
    let client = backplane.makeClient(user: "root")
    let change = ChangeGroup(kind, group, host: backplane.host)
    backplane.sendDatagram(change.message, from: client, to: program)
    backplane.retire(client)
  }

  // MARK: messages

  /// A member of this host gets a message.
  private func receive(_ request: Request, _ receiver: GroupMember.Receiver, _ name: String) {
    guard request.message.mcb.code == GroupMessage.code else {
      return backplane.refuse(.illegalRequest, request)
    }
    backplane.serve(GroupMessage.self, request) { message in
      let sender = request.principal.map { "\($0)" } ?? "nobody"
      switch receiver {
      case .mailbox(let mailbox):
        let isTaken = mailbox.put("\(sender): \(message.text)\n")
        backplane.reply(
          GroupMessage.Answer(
            isTaken ? .ok : .noServerResources, member: name,
            words: isTaken ? "taken" : Mailbox.full), to: request)
      case .program(let program):
        // A request to a group is not forwarded but sent anew (RFC 1045, 2.15).
        clients.send(
          GroupMessage(sender: sender, text: message.text), as: "root", to: program,
          options: SendOptions(timeLimit: Self.programLimit)
        ) { [self] answer in
          backplane.reply(self.answer(of: name, program, answer), to: request)
        }
      }
    }
  }

  /// Below the time that a sender waits.
  private static let programLimit = TimeSpan.milliseconds(1800)

  private func answer(
    of name: String, _ program: EntityID, _ answer: Answer<GroupMessage.Answer>
  ) -> GroupMessage.Answer {
    switch answer {
    case .done(var answer, _):
      answer.member = name
      return answer
    case .refused(let code):
      if code == .nonexistentEntity { forget(program: program) }
      return GroupMessage.Answer(
        code, member: name, words: code == .nonexistentEntity ? "it has ended" : "\(code)")
    }
  }

  // MARK: programs

  /// The entity of a program of this host, as its manager tells in the program's `status`.
  private func findProgram(
    _ name: MemberName, _ found: @escaping @Sendable (EntityID?) -> Void
  ) {
    let path = Array("team/\(name.host)/\(name.name)/status".utf8)
    clients.send(
      CreateInstance(ContextName(ContextID(rawValue: 1), path), mode: .read), as: "root",
      to: directory.withLock { $0 }
    ) { [self] answer in
      guard case .done(let opened, let manager) = answer else { return found(nil) }
      clients.send(
        ReadInstance(opened.instance, position: 0, count: 4096), as: "root", to: manager
      ) { [self] answer in
        clients.send(ReleaseInstance(opened.instance), as: "root", to: manager) { _ in }
        guard case .done(let block, _) = answer else { return found(nil) }
        let lines = String(decoding: block.data, as: UTF8.self).split(separator: "\n")
        let entity = lines.first { $0.hasPrefix("entity ") }?.dropFirst("entity ".count)
        found(entity.flatMap { EntityID($0) })
      }
    }
  }
}
