import Fixtures
import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime
import VStore

/// The operations whose access rule is neither that of instances nor that of names.
@Suite("Attacks on operations with rules of their own")
struct ExceptionAttackTests {
  private static let exceptions = OperationTable.entries.filter { entry in
    switch entry.access {
    case .instance, .name, .everybody: false
    case .ownHost, .ownRoot, .only, .nodes: true
    }
  }

  @Test("each of them is attacked", arguments: exceptions.map(\.code))
  func attack(code: UInt32) throws {
    switch code {
    case ClaimName.code: try claims()
    case ForgetName.code: try forgetting()
    case SpreadClaims.code: try news()
    case SpreadDigest.code: try digests()
    case CancelWait.code: try waits()
    case MeasureSends.code: try measuring()
    case WakeUp.code: try delays()
    case ControlTeam.code: try programs()
    case GroupMessage.code: try GroupAttack().messages()
    case QueryGroup.code: try GroupAttack().questions()
    case ChangeGroup.code: try GroupAttack().changes()
    case Management.notifyClient, Management.notifyServer, Management.notifyRemoteClient,
      Management.beginTransaction, Management.queryOutcome:
      try notifications(code)
    default: Issue.record("\(OperationTable.entry(code)?.name ?? "\(code)") has no attack")
    }
  }

  // MARK: prefixes

  /// Only root of the host claims a prefix.
  private func claims() throws {
    let host = try AttackedHost()
    var targets = RequestTargets()
    targets.name = ContextName(.none, Array("src".utf8))
    targets.manager = host.kea.makeServer(knowsPrincipals: true) { _ in }
    let claim = try #require(targets.message(ClaimName.code))
    for who in Who.allCases where who != .root {
      #expect(host.send(claim, host.directory.server, as: who).code == .noPermission, "\(who)")
      #expect(host.directory.holder(of: Array("src".utf8)) == nil)
    }
    #expect(host.send(claim, host.directory.server, as: .root).code == .ok)
    #expect(host.directory.holder(of: Array("src".utf8)) == "kea")
  }

  /// Only root of the host forgets a prefix, and not while its manager answers.
  private func forgetting() throws {
    let host = try AttackedHost()
    let name = Array("pipe/kea".utf8)
    let forget = ForgetName(prefix: name).message
    for who in Who.allCases where who != .root {
      #expect(host.send(forget, host.directory.server, as: who).code == .noPermission, "\(who)")
    }
    #expect(host.send(forget, host.directory.server, as: .root).code == .inUse)
    // Nobody can give up another manager's prefix.
    let other = host.kea.makeServer(knowsPrincipals: true) { _ in }
    let giveUp = ForgetName(prefix: name, manager: other).message
    #expect(host.send(giveUp, host.directory.server, as: .root).code == .notOwner)
    #expect(host.directory.holder(of: name) == "kea")
  }

  /// No process is heard as a directory: not by the server, and not from the own host; of another
  /// host, nobody sends as its directory but its node.
  private func digests() throws {
    let host = try AttackedHost()
    let name = Array("pipe/kea".utf8)
    let claim = Claim(
      prefix: name, manager: host.moa.makeServer(knowsPrincipals: true) { _ in },
      context: ContextID(rawValue: 1), host: "moa", clock: 1, state: .present)
    var digest = ClaimDigest()
    digest.add(claim)
    let spread = SpreadDigest(claim.manager, digest, [claim]).message
    for who in Who.allCases {
      #expect(host.send(spread, host.directory.server, as: who).code == .illegalRequest, "\(who)")
      guard who.host == "kea" else { continue }
      let client = host.kea.makeClient(who.user)
      host.kea.sendDatagram(spread, from: client, to: .nameHandlingGroup)
      host.simulator.run(for: .milliseconds(100))
      host.kea.retire(client)
    }
    #expect(host.directory.holder(of: name) == "kea")
  }

  /// A manager loses its prefix only by a message of root of its host, as which its directory
  /// sends.
  private func news() throws {
    let host = try AttackedHost()
    let name = Array("pipe/kea".utf8)
    let pipes = host.send(QueryObject(host.name("pipe/kea")).message, host.directory.server).server
    let claim = Claim(
      prefix: name, manager: host.moa.makeServer(knowsPrincipals: true) { _ in },
      context: ContextID(rawValue: 1), host: "moa", clock: .max / 2, state: .present)
    let news = SpreadClaims([claim], wantsAnswer: false).message
    // A directory without a table asks the managers themselves.
    func holder() -> EntityID? {
      let answer = host.send(
        QueryName(ContextName(.none, name)).message, .nameHandlingGroup, as: .foreignRoot)
      return (try? QueryName.Answer(parsing: answer.message))?.manager
    }
    func tell(_ who: Who, _ server: EntityID) {
      let node = host.node(of: who)
      let client = node.makeClient(who.user)
      node.sendDatagram(news, from: client, to: server)
      host.simulator.run(for: .milliseconds(100))
      node.retire(client)
    }
    #expect(holder() == pipes)
    for who in Who.allCases where who != .root {
      for server in [pipes, host.directory.server] {
        #expect(host.send(news, server, as: who).code == .illegalRequest, "\(who)")
        tell(who, server)
      }
      #expect(holder() == pipes, "\(who) took a prefix away from its manager")
      #expect(host.claims.value == [.ok], "\(who)")
      let described = host.send(QueryObject(host.name("pipe/kea")).message, host.directory.server)
      #expect(described.code == .ok && described.server == pipes, "\(who)")
      #expect(host.directory.holder(of: name) == "kea", "\(who)")
    }
    tell(.root, pipes)
    // Otherwise the attack would prove nothing.
    #expect(host.claims.value == [.ok, .duplicateName])
    #expect(holder() == nil)
  }

  /// Kernels accept their notifications from no client.
  private func notifications(_ code: UInt32) throws {
    let host = try AttackedHost()
    let asked = Box<[Request]>([])
    let server = host.kea.makeServer(knowsPrincipals: true) { asked.value.append($0) }
    for who in Who.allCases where who.host == "kea" {
      // The owner waits here and on the other host; the attacker knows all numbers.
      let answers = Box<[ReplyCode]>([])
      for node in [host.kea, host.moa] {
        node.send(
          Message(MessageControlBlock(code: 1)), from: node.makeClient("ann"), to: server,
          options: SendOptions()
        ) { answers.value.append($0.code) }
      }
      host.simulator.run(for: .seconds(1)) { asked.value.count == 2 }
      for request in asked.value {
        let notice = try Self.notice(code, of: request)
        let manager = EntityID.manager(of: host.kea.id)
        #expect(host.send(notice, manager, as: who).code == .illegalRequest, "\(who)")
      }
      #expect(answers.value.isEmpty, "\(who) ended a transaction")
      for request in asked.value { host.kea.reply(Message(reply: .ok), to: request) }
      host.simulator.run(for: .seconds(1)) { answers.value.count == 2 }
      #expect(answers.value == [.ok, .ok])
      asked.value = []
    }
  }

  private static func notice(_ code: UInt32, of request: Request) throws -> Message {
    let notice = NotifyClient(
      client: request.client, transaction: request.transaction, delivery: [],
      code: .nonexistentEntity, retransmitCount: 1)
    switch code {
    case Management.notifyClient: return Message(notice.mcb)
    case Management.notifyRemoteClient: return Message(notice.remoteMCB)
    case Management.queryOutcome:
      return Message(
        QueryOutcome(client: request.client, transaction: request.transaction).mcb)
    case Management.beginTransaction:
      let state = ProbeEntity.EntityState(
        transaction: request.transaction.next, entity: request.client, isAwaitingResponse: true,
        principal: "root@kea", marks: .fullRoot)
      return BeginTransaction(state).message
    default:
      return Message(
        NotifyServer(
          server: request.server, client: request.client, transaction: request.transaction,
          delivery: [], code: .nonexistentEntity
        ).mcb)
    }
  }

  // MARK: waits

  /// Only the principal of a request ends its wait.
  private func waits() throws {
    let host = try AttackedHost()
    let pipe = try host.open("pipe/kea/own", [.read, .write, .create])
    let client = host.kea.makeClient(Who.owner.user)
    let code = Box<ReplyCode?>(nil)
    host.kea.send(
      ReadInstance(pipe.instance, position: 0, count: 1).message, from: client, to: pipe.manager,
      options: SendOptions()
    ) { code.value = $0.code }
    let cancel = CancelWait(client).message
    for who in Who.attackers {
      #expect(host.send(cancel, pipe.manager, as: who).code == .notFound, "\(who)")
      #expect(code.value == nil, "\(who) ended a wait")
    }
    #expect(host.send(cancel, pipe.manager).code == .ok)
    #expect(code.value == .interrupted)
  }

  /// Only the host's own processes measure Sends, and each user has a share of them.
  private func measuring() throws {
    let host = try AttackedHost()
    let server = EntityID.nodeServer(of: host.kea.id)
    let one = MeasureSends(target: .entity(server), count: 1, limitMilliseconds: 500).message
    for who in Who.allCases {
      let code = host.send(one, server, as: who).code
      #expect(code == (who.host == "kea" ? .ok : .noPermission), "\(who)")
    }
    // Measures a server that never answers, for an hour.
    let silent = host.kea.makeServer(knowsPrincipals: true) { _ in }
    let long = MeasureSends(
      target: .entity(silent), count: MeasureSends.countMax, limitMilliseconds: 3_600_000
    ).message
    var codes: [ReplyCode] = []
    for _ in 0..<20 { codes.append(host.send(long, server, as: .other).code) }
    #expect(codes.last == .busy)
    #expect(host.send(one, server).code == .ok)
  }

  /// Only the principal of a process and root of the host end a delay.
  private func delays() throws {
    let host = try AttackedHost()
    let time = try #require(host.timeServer)
    // Of a process of the same host, and of one of another, whose root may end it too.
    for (sleeper, wakers) in [
      (Who.owner, [Who.owner, .root]), (.namesake, [.namesake, .root, .foreignRoot]),
    ] as [(Who, [Who])] {
      for waker in wakers {
        let client = host.node(of: sleeper).makeClient(sleeper.user)
        let code = Box<ReplyCode?>(nil)
        host.node(of: sleeper).send(
          DelayProcess(.seconds(3600)).message, from: client, to: time, options: SendOptions()
        ) { code.value = $0.code }
        host.simulator.run(for: .seconds(1))
        for who in Who.allCases where !wakers.contains(who) {
          let answer = host.send(WakeUp(client).message, time, as: who).code
          #expect(answer == .noPermission, "\(who) wakes \(sleeper)")
          #expect(code.value == nil, "\(who) woke \(sleeper)")
        }
        #expect(host.send(WakeUp(client).message, time, as: waker).code == .ok, "\(waker)")
        host.simulator.run(for: .seconds(1)) { code.value != nil }
        #expect(code.value == .ok, "\(waker) wakes \(sleeper)")
      }
    }
  }

  @Test("each user has a share of delays")
  func delayShares() throws {
    let host = try AttackedHost()
    let time = try #require(host.timeServer)
    var isRefused = false
    for _ in 0..<5000 where !isRefused {
      let flooding = host.kea.makeClient(Who.other.user)
      let flooded = Box<ReplyCode?>(nil)
      host.kea.send(
        DelayProcess(.seconds(3600)).message, from: flooding, to: time, options: SendOptions()
      ) { flooded.value = $0.code }
      isRefused = flooded.value == .busy
    }
    #expect(isRefused)
    // A user's own delay goes on: the refused request has no effect on it.
    #expect(host.send(DelayProcess(.seconds(3600)).message, time).code == .userTimeout)
  }

  /// Only a program's user and root of its host command it.
  private func programs() throws {
    let host = try AttackedHost()
    let program = try entity(ofProgramOf: host)
    let control = ControlTeam(program, "suspend").message
    let message = GroupMessage(sender: "root@kea", text: "suspend").message
    func say(_ who: Who) -> ReplyCode? {
      let said = host.send(message, program, as: who)
      return (try? GroupMessage.Answer(parsing: said.message))?.outcome
    }
    for who in Who.strangers {
      let code = host.send(control, .programManagerGroup, as: who).code
      #expect(code == .noPermission, "\(who): \(code)")
      #expect(say(who) == .noPermission, "\(who) by a message to the program")
    }
    #expect(host.running.state == .running && host.running.commands.isEmpty)
    let resume = ControlTeam(program, "resume").message
    for who in [.owner] + Who.heirs {
      #expect(host.send(control, .programManagerGroup, as: who).code == .ok, "\(who)")
      #expect(host.running.state == .suspended, "\(who)")
      #expect(host.send(resume, .programManagerGroup, as: who).code == .ok, "\(who)")
      #expect(host.running.state == .running, "\(who)")
      #expect(say(who) == .ok, "\(who) by a message")
      #expect(host.running.state == .suspended, "\(who)")
    }
  }

  private func entity(ofProgramOf host: AttackedHost) throws -> EntityID {
    let status = try host.open("team/kea/\(host.program)/status", .read)
    let text = host.send(
      ReadInstance(status.instance, position: 0, count: 4096).message, status.manager)
    let lines = String(decoding: text.message.segment, as: UTF8.self).split(separator: "\n")
    let line = try #require(lines.first { $0.hasPrefix("entity ") })
    return try #require(EntityID(line.dropFirst("entity ".count)))
  }
}
