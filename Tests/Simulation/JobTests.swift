import NetworkFaults
import Testing
import VDirectory
import VGroupServer
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime
import VStore
import VTeamServer

@Suite("Jobs in the simulator")
struct JobTests {
  private let simulator = Simulator(seed: 9)
  private let hosts: [TeamHost]
  private let groups: [GroupServer]
  private var kea: TeamHost { hosts[0] }

  init() {
    let simulator = simulator
    hosts = ["kea", "moa"].map { TeamHost($0, in: simulator) }
    groups = hosts.map { host in
      let server = GroupServer(host.node)
      server.claim(in: host.directory.server) { _ in }
      return server
    }
    simulator.run(for: .seconds(12))
  }

  /// Sends a message and reads the answers.
  private func send(_ text: String, as user: String = "ann") -> String? {
    guard let file = kea.open("group/job/send", [.read, .write], as: user) else { return nil }
    defer { file.release() }
    _ = file.write(text)
    return file.read()
  }

  @Test("programs are in a group from their start, by their ctl or by touch, until they end")
  func membership() throws {
    _ = try #require(kea.start("kea", "group: job\n\nsleep 9"))
    _ = try #require(kea.start("moa", "sleep 9"))
    simulator.run(for: .seconds(1))
    let name = ContextName(
      kea.directory.nameSpace.root, Array("group/job/members/moa:101.sleep".utf8))
    let made = kea.ask(AddName(name, kind: .file, permissions: 0o600), of: kea.directory.server)
    #expect(made?.refusal == nil)
    #expect(kea.list("group/job/members") == ["kea:101.sleep", "moa:101.sleep"])
    for host in ["kea", "moa"] {
      #expect(kea.text("team/\(host)/101.sleep/status")?.hasSuffix("groups job\n") == true)
    }
    #expect(kea.write("team/moa/101.sleep/ctl", "leave job\n") == .ok)
    simulator.run(for: .seconds(1))
    #expect(kea.list("group/job/members") == ["kea:101.sleep"])
    #expect(kea.text("team/moa/101.sleep/status")?.contains("groups") == false)
    #expect(kea.write("team/moa/101.sleep/ctl", "join job\n") == .ok)
    simulator.run(for: .seconds(1))
    #expect(kea.list("group/job/members") == ["kea:101.sleep", "moa:101.sleep"])
    for host in hosts { host.machine.last.become(.exited(0)) }
    simulator.run(for: .seconds(1))
    #expect(kea.list("group/job/members") == [])
    simulator.run(for: .seconds(301))
    #expect(kea.list("group/job") == nil)
  }

  @Test("the last answers can be read when the members have ended; background processes stay")
  func lastWords() throws {
    for host in ["kea", "moa"] { _ = try #require(kea.start(host, "group: job\n\nsleep 9")) }
    hosts[1].machine.last.leavesSomething = true
    simulator.run(for: .seconds(1))
    #expect(send("kill") == "kea:101.sleep: ok\nmoa:101.sleep: ok\n")
    simulator.run(for: .seconds(10))
    #expect(kea.text("group/job/send") == "kea:101.sleep: ok\nmoa:101.sleep: ok\n")
    #expect(kea.list("group/job/members") == ["moa:101.sleep"])
    #expect(kea.text("team/moa/101.sleep/status")?.contains("\nprocesses 2\n") == true)
    #expect(send("kill") == "moa:101.sleep: ok\n")
    simulator.run(for: .seconds(1))
    #expect(kea.list("group/job/members") == [])
    #expect(send("kill") == "refused: job has no members\n")
  }

  @Test("a program that may not join its group is ended, with the reason")
  func refusedJoin() throws {
    let name = ContextName(kea.directory.nameSpace.root, Array("group/birds".utf8))
    let made = kea.ask(
      AddName(name, kind: .context, permissions: 0o755), of: kea.directory.server, as: "bob")
    #expect(made?.refusal == nil)
    for host in hosts {
      let new = try #require(kea.open("team/\(host.node.host)/new", [.read, .write]))
      #expect(new.write("group: birds\n\nsleep 9") == .noPermission)
      #expect(new.read() == "refused: birds belongs to bob\n")
      #expect(host.machine.programs.isEmpty && host.team.shareCounts.programs == 0)
    }
    // A running program without the right does not join either.
    _ = try #require(kea.start("moa", "sleep 9"))
    #expect(kea.write("team/moa/102.sleep/ctl", "join birds\n") == .noPermission)
    #expect(
      kea.text("team/moa/102.sleep/ctl")?.hasSuffix("refused: birds belongs to bob\n") == true)
    #expect(kea.write("team/moa/102.sleep/ctl", "leave birds\n") != .ok)
    #expect(kea.text("team/moa/102.sleep/status")?.contains("groups") == false)
    #expect(kea.list("group/birds/members") == [])
  }

  @Test("a process that became another user's goes on when its start is taken back")
  func setUser() throws {
    let name = ContextName(kea.directory.nameSpace.root, Array("group/birds".utf8))
    let made = kea.ask(
      AddName(name, kind: .context, permissions: 0o755), of: kea.directory.server, as: "bob")
    #expect(made?.refusal == nil)
    for (number, attached) in [(101, "attached: yes\n"), (102, "")] {
      kea.machine.runsAs[Int32(number)] = "root"
      let new = try #require(kea.open("team/kea/new", [.read, .write]))
      #expect(new.write("\(attached)group: birds\n\nsu") == .noPermission)
      let program = kea.machine.last
      #expect(program.pid == number && !program.isForgotten && program.state == .running)
      // Its starter is gone.
      #expect(program.isHungUp == !attached.isEmpty)
      new.release()
    }
  }

  @Test("if no group server answers, a program that wants a group is not started")
  func noGroupServer() throws {
    let tui = TeamHost("tui", in: simulator)
    simulator.run(for: .seconds(12))
    let new = try #require(tui.open("team/tui/new", [.read, .write]))
    #expect(new.write("group: job\n\nsleep 9") == .retransmissionTimeout)
    #expect(new.read() == "refused: the group server of tui does not answer\n")
    #expect(tui.machine.programs.isEmpty)
  }

  @Test("nobody can put another user's program into a group")
  func membersOwners() throws {
    _ = try #require(kea.start("moa", "sleep 9"))
    simulator.run(for: .seconds(1))
    func make(_ path: String, _ kind: ObjectKind, as user: ClientUser) -> ReplyCode? {
      let name = ContextName(kea.directory.nameSpace.root, Array("group/\(path)".utf8))
      let add = AddName(name, kind: kind, permissions: 0o777)
      let answer: Answer<AddName.Answer>? = outcome(simulator) {
        kea.clients.send(add, as: user, to: kea.directory.server, completion: $0)
      }
      return answer.map { $0.refusal ?? .ok }
    }
    #expect(make("birds", .context, as: "eve") == .ok)
    #expect(make("birds/members/moa:101.sleep", .file, as: "eve") == .notOwner)
    #expect(kea.text("team/moa/101.sleep/status")?.contains("groups") == false)
    #expect(make("birds/members/moa:101.sleep", .file, as: "ann") == .ok)
    #expect(kea.list("group/birds/members") == ["moa:101.sleep"])
  }

  @Test("one group Send acts once on each program, even at 5 % loss; others are refused")
  func control() throws {
    for host in ["kea", "moa"] { _ = try #require(kea.start(host, "group: job\n\nsleep 9")) }
    simulator.run(for: .seconds(1))
    simulator.faults = Faults(loss: 5, duplication: 5)
    for number in 1...20 {
      let command: ProgramCommand = number % 2 == 1 ? .suspend : .resume
      let sent = send(number % 2 == 1 ? "suspend" : "resume")
      #expect(sent == "kea:101.sleep: ok\nmoa:101.sleep: ok\n")
      for host in hosts {
        #expect(host.machine.last.commands.count == number)
        #expect(host.machine.last.commands.last == command)
      }
    }
    #expect(send("suspend", as: "eve") == nil)
    #expect(
      send("dance") == """
        kea:101.sleep: "dance" is no command; cat ctl lists them
        moa:101.sleep: "dance" is no command; cat ctl lists them

        """)
    #expect(hosts.allSatisfy { $0.machine.last.commands.count == 20 })
    // Root of one host is nobody on another, and root of a container everywhere.
    #expect(send("suspend", as: "root")?.hasPrefix("kea:101.sleep: ok\n") == true)
    #expect(hosts.map { $0.machine.last.commands.count } == [21, 20])
    kea.isRootFull = false
    #expect(send("resume", as: "root") == nil)
    #expect(hosts.map { $0.machine.last.commands.count } == [21, 20])
  }
}
