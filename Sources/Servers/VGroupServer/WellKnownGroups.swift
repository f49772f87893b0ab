import Synchronization
import VObjects
package import VProtocol
import VRuntime

/// A group of the system, with a question that all its members answer.
package struct WellKnownGroup: Sendable {
  package var name: Name
  var entity: EntityID
  var question: Message

  package static let all = [
    WellKnownGroup(
      name: "group-managers", entity: .groupManagerGroup, question: QueryGroup("").message),
    WellKnownGroup(
      name: "kernels", entity: .managerGroup, question: FindNode(host: "").message),
    WellKnownGroup(
      name: "name-handlers", entity: .nameHandlingGroup,
      question: QueryName(ContextName(.none)).message),
    // Each answers that it has no such program.
    WellKnownGroup(
      name: "program-managers", entity: .programManagerGroup,
      question: everywhere(
        ControlTeam(EntityID(kernel: KernelID(0), discriminator: 1), ""))),
    WellKnownGroup(name: "time-servers", entity: .timeGroup, question: everywhere(GetTime())),
  ]

  /// A question to all members, not to that of one host.
  private static func everywhere(_ operation: some Operation) -> Message {
    var message = operation.message
    message.mcb.flags.remove(.coResident)
    return message
  }

  /// Kernels take no questions of users; the node servers answer for them.
  var asked: EntityID { entity == .managerGroup ? .nodeGroup : entity }
  func member(_ answering: EntityID) -> EntityID {
    entity == .managerGroup ? .manager(of: answering.kernel) : answering
  }
}

extension GroupServer {
  private static let membersLimit = TimeSpan.milliseconds(50)
  /// How soon they are asked again.
  private static let membersAge = TimeSpan.seconds(1)

  func context(of group: WellKnownGroup) -> TreeContext {
    let ask: @Sendable (@escaping @Sendable () -> Void) -> Void = { [self] then in
      let now = backplane.now
      let isKnown = systemMembers.withLock { $0[group.name].map { $0.until > now } ?? false }
      guard !isKnown else { return then() }
      let found = Mutex<[Name]>([])
      let client = backplane.makeClient(user: "nobody")
      backplane.send(
        group.question, PartySend(.groupServer, to: .memory), from: client, to: group.asked,
        options: SendOptions(timeLimit: Self.membersLimit, collectsResponses: true)
      ) { [self] response in
        guard response.server == .none else {
          return found.withLock { $0.append(Name("\(group.member(response.server))")) }
        }
        backplane.retire(client)
        let members = found.withLock { $0.sorted() }
        systemMembers.withLock { $0[group.name] = (members, until: now + Self.membersAge) }
        then()
      }
    }
    let known: @Sendable () -> [Name] = { [self] in
      systemMembers.withLock { $0[group.name]?.names ?? [] }
    }
    var members = TreeContext(names: known) { name in
      known().contains(name) ? .text(TreeText { "\(name)\n" }) : nil
    }
    members.prepare = { _, _, done in ask { done(nil) } }
    return TreeContext([
      ("members", .context(members)),
      (
        "status",
        .text(
          TreeText(prepare: ask) {
            "entity \(group.entity)\nowner root\npermissions 555\nmembers \(known().count)\n"
          })
      ),
    ])
  }
}
