import VObjects
import VProtocol
import VRuntime

/// Programs in groups: the group server of the host makes them members, and tells each program's
/// entity; messages to a group arrive there too, as lines of `ctl`.
extension Teams {
  /// Asks the group server of this host, which makes a group that does not exist; it asks other
  /// group servers and no team server.
  func change(
    _ kind: ChangeGroup.Change, _ group: Name, of program: Program, _ done: @escaping Outcome
  ) {
    var change = ChangeGroup(kind, group, host: backplane.host)
    change.member = Name("\(backplane.host):\(program.name)")
    change.owner = program.owner
    change.program = program.entity
    backplane.ask(change, by: .teamServer, as: "root") { [self] refusal in
      if refusal == nil { program.note(kind, group) }
      // It may have ended meanwhile.
      if program.isEmpty && kind == .join { leaveGroups(program) }
      done(refusal)
    }
  }

  /// Puts a program that was found after a restart back into a group: the group server may have
  /// been restarted too, or know the program by an entity that no longer exists.
  func rejoin(_ group: Name, _ program: Program) {
    change(.join, group, of: program) { [self] refusal in
      guard refusal?.code == .duplicateName else { return }
      change(.leave, group, of: program) { [self] _ in
        change(.join, group, of: program) { _ in }
      }
    }
  }

  /// Removes a program without processes from its groups.
  func leaveGroups(_ program: Program) {
    for group in program.groups { change(.leave, group, of: program) { _ in } }
  }

  /// A message to a program's entity.
  func receive(_ request: Request, for program: Program) {
    let own = Caller(request, at: backplane.host)
    let isTold = own.isRoot && own.isLocal
    switch request.message.mcb.code {
    case GroupMessage.code:
      backplane.serve(GroupMessage.self, request) { message in
        // The group server of this host passes on messages of others; without a sender's name it is
        // root's own.
        let caller =
          isTold && !message.sender.isEmpty
          ? rules.caller(named: message.sender, in: request) : rules.caller(of: request)
        control(program, Array(message.text.utf8), by: caller) { [backplane] refusal in
          let words = refusal.map { $0.words.isEmpty ? "\($0.code)" : $0.words }
          backplane.reply(
            GroupMessage.Answer(
              refusal?.code ?? .ok, member: Name("\(backplane.host):\(program.name)"),
              words: words ?? "ok"), to: request)
        }
      }
    case ChangeGroup.code:
      guard isTold, let change = try? ChangeGroup(parsing: request.message) else {
        return backplane.refuse(.illegalRequest, request)
      }
      program.note(change.change, change.group)
      backplane.reply(Done(), to: request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }
}
