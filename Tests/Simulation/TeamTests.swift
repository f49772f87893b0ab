import NetworkFaults
import Testing
import VDirectory
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime
import VStore
import VTeamServer

@Suite("Programs in the simulator")
struct TeamTests {
  private let simulator: Simulator
  private let kea: TeamHost
  private let moa: TeamHost

  init() { self.init(seed: 7) }

  private init(seed: UInt64) {
    simulator = Simulator(seed: seed)
    kea = TeamHost("kea", in: simulator)
    moa = TeamHost("moa", in: simulator, run: ["*@*", "root@tui"])
    simulator.run(for: .seconds(12))
  }

  @Test("a command written to new runs, as the user of the same name, and its name is read back")
  func start() throws {
    let (new, name) = try #require(
      kea.start("moa", "dir: /v/x\nclass: background\n\nsort big\n"))
    #expect(name == "101.sort" && new.read() == "")
    let order = moa.machine.last.order
    #expect(order.user == "ann" && order.starter == "ann@kea" && !order.isAttached)
    #expect(order.programClass == .background && order.directory == Array("/v/x".utf8))
    new.release()
    #expect(
      kea.list("team/moa") == ["status", "ctl", "new", "101.sort", "7.kworker_0_1_x"])
    #expect(
      kea.list("team/moa/101.sort") == [
        "status", "cmdline", "environ", "pid", "ctl", "wait", "events", "in", "out", "err",
        "proc", "regions", "mem",
      ])
    let status = try #require(kea.text("team/moa/101.sort/status"))
    #expect(status.hasPrefix("name 101.sort\nentity BE-"))
    #expect(
      status.hasSuffix(
        """
        owner ann@kea
        user ann
        class background
        state running
        directory /
        asked /v/x
        started 101.000000707
        cpu_ms 12
        memory_kb 34
        processes 2
        attached no

        """))
    #expect(kea.text("team/moa/101.sort/pid") == "101\n")
    #expect(kea.text("team/moa/101.sort/cmdline") == "cmdline of 101")
    #expect(kea.text("team/moa/101.sort/environ") == "environ of 101")
    #expect(kea.text("team/moa/101.sort/regions") == "maps of 101")
    #expect(kea.text("team/moa/101.sort/mem") == "memory")
    #expect(kea.list("team/moa/101.sort/proc") == ["101", "1101"])
    #expect(kea.text("team/moa/101.sort/proc/1101") == "status of 1101")
    #expect(
      kea.text("team/moa/status") == "programs 1\nload 1.25\nclasses cgroup2\nguests on\n")
    #expect(kea.list("team/moa/7.kworker_0_1_x") == ["status", "cmdline", "pid"])
    #expect(kea.text("team/moa/7.kworker_0_1_x/cmdline") == "cmdline of 7")
    #expect(kea.text("team/moa/7.kworker_0_1_x/pid") == "7\n")
    #expect(moa.team.instanceCount == 0)
  }

  @Test("a user without the right is refused, in words that can be read afterwards")
  func refusals() throws {
    let tui = TeamHost("tui", in: simulator, run: ["bob@kea"])
    simulator.run(for: .seconds(12))
    #expect(kea.write("team/tui/new", "ls") == .noPermission)
    let remedy = ": run in its vnode.toml says whose it runs\n"
    #expect(kea.text("team/tui/new") == "refused: tui runs no programs of ann@kea" + remedy)
    #expect(kea.text("team/tui/new", as: "bob") == "")
    #expect(tui.machine.programs.isEmpty)
    // The words can be read on the same instance, until a request is accepted.
    let new = try #require(kea.open("team/moa/new", [.read, .write]))
    #expect(new.write("missing") == .notFound)
    #expect(new.read() == "refused: no such program: missing\n" && new.read() == "")
    #expect(new.write("ls") == .ok)
    #expect(new.read() == "101.ls\n")
    #expect(kea.text("team/moa/new") == "")
    // Root of another host is root if a rule says so, and else not even a guest.
    #expect(kea.start("moa", "ls", as: "root") == nil)
    #expect(
      kea.text("team/moa/new", as: "root") == "refused: moa runs no programs of root@kea" + remedy)
    #expect(kea.open("team/moa/101.ls/out", .read, as: "root") == nil)
    #expect(tui.start("moa", "ls", as: "root") != nil)
    #expect(moa.machine.last.order.user == "root")
    #expect(tui.open("team/moa/101.ls/out", .read, as: "root") != nil)
  }

  @Test("a request may come line by line, and one wrong line refuses all of it")
  func lines() throws {
    func write(_ lines: [String]) -> (codes: [ReplyCode], answer: String?) {
      guard let new = kea.open("team/moa/new", [.read, .write]) else { return ([], nil) }
      defer { new.release() }
      return (lines.map { new.write($0) }, new.read())
    }
    #expect(
      write(["dir: /v\n", "attached: yes\n", "\n", "ls\n"]) == ([.ok, .ok, .ok, .ok], "101.ls\n"))
    #expect(moa.machine.programs.isEmpty)
    let (codes, answer) = write(["class: vip\n", "\n", "ls\n"])
    #expect(codes == [.badArguments, .badArguments, .badArguments])
    #expect(answer?.hasPrefix("refused: class: \"vip\" is none of") == true)
    #expect(
      write([String(repeating: "a", count: 16_384), "ls"]).codes == [.badArguments, .badArguments])
    #expect(kea.text("team/moa/new")?.contains("begins with a line \"length: OCTETS\"") == true)
    #expect(write(["dir: /v\n"]) == ([.ok], ""))
    #expect(kea.text("team/moa/new") == "refused: the request was not finished\n")
    #expect(moa.machine.programs.isEmpty)
  }

  @Test("a request with a length may come in several writes")
  func lengths() throws {
    let new = try #require(kea.open("team/moa/new", [.read, .write]))
    let line = [UInt8](repeating: 0x61, count: 40_000)
    let request = Array("length: 40017\n\necho ".utf8) + line.dropLast(3)
    #expect(request.count == 40_017)
    #expect(new.write(Array(request[..<16_384])) == .ok)
    #expect(new.write(Array(request[16_384..<32_768])) == .ok)
    #expect(moa.machine.programs.isEmpty && new.read() == "")
    #expect(new.write(Array(request[32_768...])) == .ok)
    #expect(new.read() == "101.echo\n")
    #expect(moa.machine.last.order.arguments[2].count == 40_002)
    #expect(new.write("length: 15\n\nls -l\n") == .badArguments)
    #expect(new.read() == "refused: length: 15, but there is more\n")
  }

  @Test("streams carry octets both ways, and wait without a thread", arguments: seeds)
  func streams(seed: UInt64) throws {
    let tests = TeamTests(seed: seed)
    tests.simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let (kea, moa) = (tests.kea, tests.moa)
    let (new, name) = try #require(kea.start("moa", "cat\0"))
    new.release()
    let program = moa.machine.last
    let out = try #require(kea.open("team/moa/\(name)/out", .read))
    program.say("one ")
    program.say("two")
    #expect(out.read() == "one two")
    let later = out.readLater()
    tests.simulator.run(for: .seconds(1))
    #expect(later.value == nil && moa.team.waitCount == 1 && program.waitingReads == 1)
    program.say("three")
    tests.simulator.run(for: .seconds(5)) { later.value != nil }
    #expect(later.value == "three")
    // Each instance reads all that is kept.
    #expect(kea.text("team/moa/\(name)/out") == "one twothree")
    let input = try #require(kea.open("team/moa/\(name)/in", .write))
    for _ in 0..<20 { #expect(input.write("line\n") == .ok) }
    #expect(program.input.count == 100 && !program.isInputEnded)
    input.release()
    #expect(program.isInputEnded)
    program.say("last")
    program.become(.exited(3))
    #expect(out.read() == "last" && out.read() == "")
    #expect(kea.text("team/moa/\(name)/err") == "")
    #expect(kea.text("team/moa/\(name)/wait") == "exited 3\n")
    out.release()
    #expect(moa.team.waitCount == 0 && moa.team.instanceCount == 0)
  }

  @Test("a read that is cancelled takes no octets")
  func cancel() throws {
    let (_, name) = try #require(kea.start("moa", "cat\0"))
    let program = moa.machine.last
    let out = try #require(kea.open("team/moa/\(name)/out", .read))
    let client = kea.node.makeClient(user: "ann")
    let code = Shared<ReplyCode?>(nil)
    kea.node.send(
      ReadInstance(out.instance, position: 0, count: 100), from: client, to: out.manager
    ) { code.value = $0.refusal }
    simulator.run(for: .seconds(1))
    #expect(program.waitingReads == 1)
    #expect(kea.ask(CancelWait(client), of: out.manager)?.refusal == nil)
    simulator.run(for: .seconds(1))
    #expect(code.value == .interrupted && program.waitingReads == 0)
    program.say("whole")
    #expect(out.read() == "whole")
  }

  @Test("wait is answered at the end, and events at each change")
  func waiting() throws {
    let (_, name) = try #require(kea.start("moa", "sleep 9"))
    let program = moa.machine.last
    let wait = try #require(kea.open("team/moa/\(name)/wait", .read))
    let events = try #require(kea.open("team/moa/\(name)/events", .read))
    let waits = (0..<100).map { _ in wait.readLater() }
    let event = events.readLater()
    simulator.run(for: .seconds(1))
    #expect(moa.team.waitCount == 101 && event.value == nil)
    #expect(kea.write("team/moa/\(name)/ctl", "suspend\n") == .ok)
    #expect(kea.write("team/moa/\(name)/ctl", "resume") == .ok)
    #expect(kea.write("team/moa/\(name)/ctl", "size 3 4") == .ok)
    #expect(event.value == "suspended\n" && events.read() == "running\n")
    #expect(waits.allSatisfy { $0.value == nil })
    #expect(kea.write("team/moa/\(name)/ctl", "kill INT") == .ok)
    #expect(waits.count { $0.value == "killed INT\n" } == 1)
    #expect(waits.count { $0.value == "" } == 99)
    #expect(events.read() == "killed INT\n" && events.read() == "")
    #expect(kea.text("team/moa/\(name)/events") == "")
    #expect(kea.text("team/moa/\(name)/wait") == "killed INT\n")
    #expect(kea.text("team/moa/\(name)/status")?.contains("state killed INT\n") == true)
    #expect(kea.text("team/moa/\(name)/status")?.contains("terminal 3 4\n") == true)
    #expect(
      program.commands == [
        .suspend, .resume, .setSize(TerminalSize(rows: 3, columns: 4)), .kill(signal: 2),
      ])
  }

  @Test("ctl is for the program's user and root of its host, and keeps the words of a refusal")
  func control() throws {
    let (_, name) = try #require(kea.start("moa", "sleep 9"))
    let ctl = "team/moa/\(name)/ctl"
    #expect(kea.write(ctl, "suspend", as: "eve") == .noPermission)
    #expect(kea.write(ctl, "suspend", as: "root") == .noPermission)
    #expect(kea.write(ctl, "dance") == .badArguments)
    #expect(
      kea.text(ctl)?.hasSuffix("refused: \"dance\" is no command; cat ctl lists them\n") == true)
    #expect(kea.text(ctl, as: "root")?.contains("refused") == false)
    #expect(moa.write(ctl, "suspend", as: "root") == .ok)
    #expect(kea.write(ctl, "kill") == .ok)
    #expect(kea.text(ctl)?.contains("refused") == false)
    #expect(kea.write(ctl, "kill") == .noProcess)
    #expect(kea.text(ctl)?.hasSuffix("refused: it has ended\n") == true)
  }

  @Test("guests are accepted as long as root of the host allows it")
  func guests() throws {
    #expect(kea.write("team/moa/ctl", "guests off") == .noPermission)
    #expect(moa.write("team/moa/ctl", "guests maybe", as: "root") == .badArguments)
    #expect(moa.write("team/moa/ctl", "guests off", as: "root") == .ok)
    #expect(kea.start("moa", "class: guest\n\nls") == nil)
    #expect(kea.text("team/moa/new") == "refused: moa takes no guests\n")
    let (_, name) = try #require(kea.start("moa", "ls"))
    #expect(kea.write("team/moa/\(name)/ctl", "class guest") == .noPermission)
    #expect(moa.write("team/moa/ctl", "guests on", as: "root") == .ok)
    #expect(kea.write("team/moa/\(name)/ctl", "class guest") == .ok)
  }

  // MARK: attached and detached

  @Test("an attached program ends with the release of its starter's instance, or with its host")
  func attached() throws {
    let (new, name) = try #require(kea.start("moa", "attached: yes\n\nvim"))
    let program = moa.machine.last
    #expect(!program.isHungUp)
    new.release()
    #expect(program.isHungUp && program.isForgotten)
    #expect(kea.open("team/moa/\(name)/status", .read) == nil && kea.lastCode == .notFound)
    // An ended one is shown until then.
    let (held, other) = try #require(kea.start("moa", "attached: yes\n\nls"))
    moa.machine.last.become(.exited(0))
    #expect(kea.text("team/moa/\(other)/wait") == "exited 0\n")
    held.release()
    #expect(kea.open("team/moa/\(other)/wait", .read) == nil)
    let tui = TeamHost("tui", in: simulator)
    simulator.run(for: .seconds(12))
    _ = try #require(tui.start("moa", "attached: yes\n\ntop"))
    let last = moa.machine.last
    simulator.crash("tui")
    simulator.run(for: .seconds(30)) { last.isHungUp }
    #expect(last.isHungUp && last.isForgotten && moa.team.instanceCount == 0)
  }

  @Test("a detached program outlives its starter, and is shown for a while after its end")
  func detached() throws {
    var names: [String] = []
    for _ in 0..<66 {
      let (new, name) = try #require(kea.start("moa", "true"))
      new.release()
      names.append(name)
      moa.machine.last.become(.exited(0))
    }
    #expect(kea.open("team/moa/\(names[1])/wait", .read) == nil)
    #expect(kea.text("team/moa/\(names[2])/wait") == "exited 0\n")
    simulator.run(for: .seconds(3601))
    #expect(kea.list("team/moa") == ["status", "ctl", "new", "7.kworker_0_1_x"])
    #expect(moa.machine.programs.isEmpty)
  }

  @Test("a later server finds the programs of an earlier one")
  func recovery() throws {
    let (_, detached) = try #require(kea.start("moa", "sleep 9"))
    let (_, attached) = try #require(kea.start("moa", "attached: yes\n\ncat"))
    let (_, lost) = try #require(kea.start("moa", "attached: yes\n\ncat"))
    let programs = [101, 102, 103].map { moa.machine.programs[$0]! }
    programs[0].say("kept")
    simulator.crash("moa")
    programs[0].become(.exited(4))
    simulator.run(for: .seconds(5))
    let again = TeamHost("moa", in: simulator, on: moa.machine)
    simulator.run(for: .seconds(6))
    #expect(kea.text("team/moa/\(detached)/out") == "kept")
    #expect(kea.text("team/moa/\(detached)/wait") == "exited 4\n")
    let out = try #require(kea.open("team/moa/\(attached)/out", .read))
    simulator.run(for: .seconds(10))
    // From now on its readers hold it.
    #expect(!programs[1].isHungUp && programs[2].isHungUp)
    #expect(kea.open("team/moa/\(lost)/status", .read) == nil)
    programs[1].say("more")
    #expect(out.read() == "more")
    out.release()
    #expect(programs[1].isHungUp)
    again.team.endPrograms()
    #expect(moa.machine.programs.isEmpty)
  }

  // MARK: operations

  @Test("an operation on a program reaches its own manager only")
  func coResident() throws {
    let tui = TeamHost("tui", in: simulator)
    simulator.run(for: .seconds(12))
    _ = try #require(kea.start("moa", "sleep 9"))
    let program = moa.machine.last
    let entity = try #require(kea.entity(of: "moa/101.sleep"))
    let before = (moa.node.counters.responsesSent, tui.node.counters.responsesSent)
    let packets = tui.node.counters.packetsIgnored
    let answer = kea.ask(ControlTeam(entity, "suspend"), of: .programManagerGroup)
    #expect(answer?.refusal == nil && program.commands == [.suspend])
    #expect(moa.node.counters.responsesSent == before.0 + 1)
    #expect(tui.node.counters.responsesSent == before.1)
    #expect(tui.node.counters.packetsIgnored == packets)
    for (line, user, code) in [
      ("dance", "ann", .badArguments), ("resume", "eve", .noPermission),
    ] as [(String, String, ReplyCode)] {
      let answer = kea.ask(ControlTeam(entity, line), of: .programManagerGroup, as: user)
      #expect(answer?.refusal == code)
    }
    #expect(program.commands == [.suspend])
    #expect(
      kea.ask(ControlTeam(moa.team.manager.server, "kill"), of: .programManagerGroup)?.refusal
        == .nonexistentEntity)
  }

  @Test("a host is chosen among those that answer, by their load")
  func choice() throws {
    let tui = TeamHost("tui", in: simulator, run: [])
    simulator.run(for: .seconds(12))
    kea.machine.load = 3000
    moa.machine.load = 1500
    #expect(moa.write("team/moa/ctl", "guests off", as: "root") == .ok)
    func answers(_ operation: SelectHost) -> [SelectHost.Answer] {
      let answers = Shared<[SelectHost.Answer]>([])
      let isOver = Shared(false)
      kea.node.send(
        operation, from: kea.node.makeClient(user: "ann"), to: .programManagerGroup,
        options: SendOptions(timeLimit: .milliseconds(50), collectsResponses: true)
      ) { answer in
        if case .done(let answer, _) = answer { answers.value.append(answer) }
        if answer.refusal != nil { isOver.value = true }
      }
      simulator.run(for: .seconds(1)) { isOver.value }
      return answers.value.sorted { $0.host < $1.host }
    }
    let all = answers(SelectHost(.background))
    #expect(all.map(\.host) == ["kea", "moa"] && all.map(\.loadThousandths) == [3000, 1500])
    #expect(all.map(\.server) == [kea.team.manager.server, moa.team.manager.server])
    #expect(answers(SelectHost(.guest)).map(\.host) == ["kea"])
    #expect(answers(SelectHost(.foreground, excluded: ["kea"])).map(\.host) == ["moa"])
    #expect(tui.machine.programs.isEmpty)
  }

  @Test("nothing is made, removed or changed by name")
  func names() throws {
    let (_, name) = try #require(kea.start("moa", "ls"))
    func code(_ operation: some VProtocol.Operation, as user: String = "root") -> ReplyCode? {
      moa.ask(operation, of: moa.directory.server, as: user)?.refusal ?? .ok
    }
    func path(_ name: String) -> ContextName {
      ContextName(moa.directory.nameSpace.root, Array("team/moa/\(name)".utf8))
    }
    for file in ["new", "status", "\(name)/ctl", "\(name)/out"] {
      #expect(code(RemoveName(path(file), isContext: false)) == .notOwner)
    }
    #expect(code(RemoveName(path(name), isContext: true)) == .notOwner)
    #expect(code(AddName(path("x"), kind: .context, permissions: 0o755)) == .notOwner)
    #expect(code(CreateInstance(path("x"), mode: [.write, .create])) == .notOwner)
    #expect(code(CreateInstance(path("\(name)/out"), mode: .write)) == .noPermission)
    #expect(code(CreateInstance(path("\(name)/in"), mode: .read)) == .noPermission)
    #expect(code(CheckAccess(path("new"), mask: 6), as: "eve") == .ok)
    #expect(code(CheckAccess(path("\(name)/environ"), mask: 4), as: "eve") == .noPermission)
    #expect(moa.machine.programs.count == 1 && !moa.machine.last.isForgotten)
  }
}
