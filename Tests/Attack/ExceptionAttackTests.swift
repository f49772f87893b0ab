import Fixtures
import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime
import VStore

/// The operations whose rule is neither that of instances nor that of names.
@Suite("Attacks on what has a rule of its own")
struct ExceptionAttackTests {
  /// Operations with an attack below; what kernels tell each other is tried by peers that lie.
  private static let tried: Set<UInt32> = [
    ClaimName.code, SpreadClaims.code, CancelWait.code, MeasureSends.code, WakeUp.code,
    ControlTeam.code, GroupMessage.code, QueryGroup.code, ChangeGroup.code,
    Management.notifyClient, Management.notifyServer, Management.notifyRemoteClient,
  ]

  @Test("each of them has one")
  func all() {
    for entry in OperationTable.entries {
      switch entry.access {
      case .instance, .name, .everybody: continue
      case .ownHost, .ownRoot, .only, .nodes:
        #expect(Self.tried.contains(entry.code), "\(entry.name) has no attack")
      }
    }
  }

  @Test("a prefix is claimed by root of the host, and lost to nobody's word")
  func claims() throws {
    let host = try AttackedHost()
    var targets = RequestTargets()
    targets.name = ContextName(.none, Array("src".utf8))
    targets.manager = host.kea.makeServer(knowsPrincipals: true) { _ in }
    let claim = try #require(targets.message(ClaimName.code))
    let pipes = host.send(QueryObject(host.name("pipe/kea")).message, host.directory.server).server
    targets.name = ContextName(.none, Array("pipe/kea".utf8))
    targets.manager = host.moa.makeServer(knowsPrincipals: true) { _ in }
    targets.host = "moa"
    let news = try #require(targets.message(SpreadClaims.code))
    for who in Who.allCases where who != .root {
      #expect(host.send(claim, host.directory.server, as: who).code == .noPermission, "\(who)")
      _ = host.send(news, pipes, as: who)
      let client = (who.host == "kea" ? host.kea : host.moa).makeClient(who.user)
      (who.host == "kea" ? host.kea : host.moa).sendDatagram(news, from: client, to: pipes)
      host.simulator.run(for: .milliseconds(100))
      let described = host.send(QueryObject(host.name("pipe/kea")).message, host.directory.server)
      #expect(described.code == .ok && described.server == pipes, "\(who) took a prefix away")
    }
    #expect(host.send(claim, host.directory.server, as: .root).code == .ok)
  }

  @Test("a wait is ended by whose request it is")
  func waits() throws {
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

  @Test("Sends are measured for the own host's processes, and each user has a share of them")
  func measuring() throws {
    let host = try AttackedHost()
    let server = EntityID.nodeServer(of: host.kea.id)
    let one = MeasureSends(target: .entity(server), count: 1, limitMilliseconds: 500).message
    for who in Who.allCases {
      let code = host.send(one, server, as: who).code
      #expect(code == (who.host == "kea" ? .ok : .noPermission), "\(who)")
    }
    // Of a server that never answers, for an hour.
    let silent = host.kea.makeServer(knowsPrincipals: true) { _ in }
    let long = MeasureSends(
      target: .entity(silent), count: MeasureSends.countMax, limitMilliseconds: 3_600_000
    ).message
    var codes: [ReplyCode] = []
    for _ in 0..<20 { codes.append(host.send(long, server, as: .other).code) }
    #expect(codes.last == .busy)
    #expect(host.send(one, server).code == .ok)
  }

  @Test("a delay is ended by its process's user and by root of the host; each user has a share")
  func delays() throws {
    let host = try AttackedHost()
    let time = try #require(host.timeServer)
    let client = host.kea.makeClient(Who.owner.user)
    let code = Box<ReplyCode?>(nil)
    host.kea.send(
      DelayProcess(.seconds(3600)).message, from: client, to: time, options: SendOptions()
    ) { code.value = $0.code }
    for who in Who.attackers where who != .root {
      #expect(host.send(WakeUp(client).message, time, as: who).code == .noPermission, "\(who)")
      #expect(code.value == nil)
    }
    #expect(host.send(WakeUp(client).message, time).code == .ok)
    #expect(code.value == .ok)
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
    // A user's own delay goes on: it is not refused.
    #expect(host.send(DelayProcess(.seconds(3600)).message, time).code == .userTimeout)
  }

  @Test("a program does what its user and root of its host say")
  func programs() throws {
    let host = try AttackedHost()
    let status = try host.open("team/kea/\(host.program)/status", .read)
    let text = host.send(
      ReadInstance(status.instance, position: 0, count: 4096).message, status.manager)
    let lines = String(decoding: text.message.segment, as: UTF8.self).split(separator: "\n")
    let line = try #require(lines.first { $0.hasPrefix("entity ") })
    let program = try #require(EntityID(line.dropFirst("entity ".count)))
    let control = ControlTeam(program, "suspend").message
    let message = GroupMessage(sender: "root@kea", text: "suspend").message
    for who in Who.strangers {
      let code = host.send(control, .programManagerGroup, as: who).code
      #expect(code == .noPermission, "\(who): \(code)")
      let said = host.send(message, program, as: who)
      let answer = try? GroupMessage.Answer(parsing: said.message)
      #expect(answer?.outcome.isOK != true, "\(who) by a message to the program")
    }
    #expect(host.machine.last.state == .running)
    for who in [Who.owner, .root] {
      #expect(host.send(control, .programManagerGroup, as: who).code == .ok, "\(who)")
    }
  }

  @Test("a closed group is heard, told, listed and changed by nobody else")
  func groups() throws {
    let host = try AttackedHost()
    let group = EntityID(groupNamed: "own")
    var join = ChangeGroup(.join, "own", host: "kea")
    join.member = "kea:intruder"
    var leave = ChangeGroup(.leave, "own", host: "kea")
    leave.member = "kea:ann"
    for who in Who.strangers {
      let said = host.send(GroupMessage(sender: "ann@kea", text: "forged").message, group, as: who)
      let answer = try? GroupMessage.Answer(parsing: said.message)
      #expect(answer?.outcome.isOK != true, "\(who) sends")
      for change in [join, leave, ChangeGroup(.remove, "own", host: "kea")] {
        let code = host.send(change.message, .groupManagerGroup, as: who).code
        #expect(!code.isOK, "\(who): \(change.change)")
      }
      // A group's server asks for its view as root of its host.
      guard who != .foreignRoot else { continue }
      let asked = host.send(QueryGroup("own").message, .groupManagerGroup, as: who)
      #expect(!asked.code.isOK || asked.message.segment.isEmpty, "\(who) lists")
      #expect(!String(decoding: asked.message.segment, as: UTF8.self).contains("ann"), "\(who)")
    }
    // Nothing of it has come, and nobody has gone.
    let mailbox = try host.open("group/own/members/ann", .read)
    let read = ReadInstance(mailbox.instance, position: 0, count: 1024).message
    #expect(host.send(read, mailbox.manager).code == .userTimeout)
    // Nor does who may send speak for another one in a line of its own, or to a terminal.
    for text in ["a\nroot@kea: b", "\u{1B}[31m", "\u{7F}", "\u{9B}31m", "a\0"] {
      let said = host.send(GroupMessage(sender: "", text: text).message, group)
      #expect(said.code == .badArguments, "\(text.debugDescription): \(said.code)")
    }
    #expect(host.send(read, mailbox.manager).code == .userTimeout)
    let said = host.send(GroupMessage(sender: "", text: "own").message, group)
    #expect(try GroupMessage.Answer(parsing: said.message).outcome.isOK)
  }
}
