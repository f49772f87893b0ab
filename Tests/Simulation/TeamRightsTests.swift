import Testing
import VNode
import VProtocol
import VRuntime
import VStore
import VTeamServer

@Suite("Rights to start programs and look into them, and shares")
struct TeamRightsTests {
  private let simulator = Simulator(seed: 11)
  private let kea: TeamHost
  private let moa: TeamHost

  init() {
    kea = TeamHost("kea", in: simulator)
    moa = TeamHost("moa", in: simulator, run: ["*@kea", "root@tui"])
    simulator.run(for: .seconds(12))
  }

  private func refusal(_ host: TeamHost, _ at: String, as user: String) -> String? {
    #expect(host.start(at, "ls", as: user) == nil)
    return host.text("team/\(at)/new", as: user)
  }

  @Test("a user without an account here runs nothing, and is nobody")
  func accounts() {
    #expect(refusal(kea, "moa", as: "eve") == "refused: moa has no user eve\n")
    #expect(refusal(kea, "moa", as: "#4711") == "refused: moa has no user #4711\n")
    #expect(refusal(kea, "moa", as: "nobody") == "refused: moa has no user nobody\n")
    for user in ["eve", "#4711", "nobody"] {
      #expect(refusal(moa, "moa", as: user) == "refused: moa has no user \(user)\n")
    }
    #expect(moa.machine.programs.isEmpty)
    // Such a host does not offer to run its programs either.
    let client = kea.node.makeClient(user: "eve")
    let answers = Shared<[SelectHost.Answer]>([])
    kea.node.send(
      SelectHost(.foreground, excluded: ["kea"]), from: client,
      to: .programManagerGroup,
      options: SendOptions(timeLimit: .milliseconds(50), collectsResponses: true)
    ) { answer in
      if case .done(let found, _) = answer { answers.value.append(found) }
    }
    simulator.run(for: .seconds(3))
    #expect(answers.value.isEmpty)
  }

  @Test("if a table of users gives no answer, starts are refused, and no user becomes nobody")
  func failingTable() {
    moa.machine.userFailure = Refusal(.deviceError, "the table of users is away")
    #expect(refusal(kea, "moa", as: "ann") == "refused: the table of users is away\n")
    #expect(moa.machine.programs.isEmpty)
  }

  @Test("a guest user runs the programs of those who have no account")
  func guests() throws {
    let tui = TeamHost("tui", in: simulator, run: ["*@*"], guest: "visitor")
    simulator.run(for: .seconds(12))
    for user in ["eve", "#4711", "nobody", "root"] {
      #expect(kea.start("tui", "ls", as: user) != nil)
      #expect(tui.machine.last.order.user == "visitor")
    }
    #expect(kea.start("tui", "ls", as: "ann") != nil && tui.machine.last.order.user == "ann")
    // Each has their own files; the guest user has none of them.
    #expect(kea.open("team/tui/101.ls/out", .read, as: "eve") != nil)
    for user in ["#4711", "root", "visitor", "ann"] {
      #expect(kea.open("team/tui/101.ls/out", .read, as: user) == nil)
    }
    #expect(kea.text("team/tui/101.ls/environ", as: "eve") == "environ of 101")
    // The guest user is for other hosts only, and must exist.
    #expect(refusal(tui, "tui", as: "eve") == "refused: tui has no user eve\n")
    tui.machine.users.remove("visitor")
    #expect(
      refusal(kea, "tui", as: "eve")
        == "refused: tui has no user eve, nor its guest user visitor\n")
  }

  @Test("a command is done with the rights of the program's user, and root's with root's")
  func commandRights() throws {
    let (_, name) = try #require(moa.start("moa", "sleep 9", as: "ann"))
    let program = moa.machine.last
    for (user, isAsUser) in [("ann", true), ("root", false)] {
      #expect(moa.write("team/moa/\(name)/ctl", "resume\n", as: user) == .ok)
      #expect(program.isLastAsUser == isAsUser)
    }
    // Root has all rights over its own programs, on another host too.
    #expect(kea.write("team/moa/\(name)/ctl", "resume\n", as: "ann") == .ok)
    #expect(program.isLastAsUser == true)
  }

  @Test("programs of root that are found again count in root's share, and in no other")
  func recoveredShares() throws {
    let machine = FakeMachine()
    for _ in 0..<950 {
      machine.start(
        ProgramOrder(
          name: "x", arguments: [[1]], user: "root", starter: "root@tui", isStarterFullRoot: true)
      ) { _ in }
    }
    let tui = TeamHost("tui", in: simulator, on: machine)
    simulator.run(for: .seconds(12))
    #expect(tui.team.shareCounts.programs == 950)
    #expect(tui.start("tui", "ls", as: "ann") != nil)
    #expect(tui.start("tui", "ls", as: "root") != nil)
    #expect(machine.last.order.isStarterFullRoot && machine.last.order.starter == "root@tui")
  }

  @Test("root of a container starts nothing and controls nothing")
  func limitedRoot() throws {
    let (_, name) = try #require(moa.start("moa", "sleep 9", as: "ann"))
    moa.isRootFull = false
    #expect(
      refusal(moa, "moa", as: "root")
        == "refused: root of a container, without all rights over moa, runs no programs\n")
    #expect(moa.write("team/moa/\(name)/ctl", "kill", as: "root") == .noPermission)
    #expect(moa.write("team/moa/ctl", "guests off", as: "root") == .noPermission)
    for file in ["mem", "environ", "regions", "out"] {
      #expect(moa.open("team/moa/\(name)/\(file)", .read, as: "root") == nil)
    }
    moa.isRootFull = true
    #expect(moa.text("team/moa/\(name)/mem", as: "root") == "memory")
    #expect(moa.start("moa", "ls", as: "root") != nil)
    // Nor is it the root of another host that is trusted.
    let tui = TeamHost("tui", in: simulator)
    simulator.run(for: .seconds(12))
    tui.isRootFull = false
    #expect(tui.start("moa", "ls", as: "root") == nil)
    tui.isRootFull = true
    #expect(tui.start("moa", "ls", as: "root") != nil)
  }

  @Test("a user who may start nothing here owns no programs here")
  func strangers() throws {
    let tui = TeamHost("tui", in: simulator)
    simulator.run(for: .seconds(12))
    let (_, name) = try #require(moa.start("moa", "cat\0", as: "ann"))
    #expect(kea.open("team/moa/\(name)/in", .write) != nil)
    #expect(tui.open("team/moa/\(name)/in", .write) == nil && tui.lastCode == .noPermission)
    #expect(tui.write("team/moa/\(name)/ctl", "kill") == .noPermission)
    #expect(tui.text("team/moa/\(name)/environ") == nil)
  }

  @Test("memory, regions and environment are shown as long as Linux shows them")
  func ptrace() throws {
    let (_, name) = try #require(kea.start("moa", "su"))
    let mem = try #require(kea.open("team/moa/\(name)/mem", .read))
    #expect(mem.read() == "memory")
    moa.machine.runsAs[moa.machine.last.pid] = "root"
    let read = ReadInstance(mem.instance, position: 0, count: 10)
    #expect(kea.ask(read, of: mem.manager)?.refusal == .noPermission)
    let again = try #require(kea.open("team/moa/\(name)/mem", .read))
    #expect(again.read() == nil)
    for file in ["regions", "environ"] {
      #expect(kea.open("team/moa/\(name)/\(file)", .read) == nil)
      #expect(kea.lastCode == .noPermission)
      #expect(moa.text("team/moa/\(name)/\(file)", as: "root") != nil)
    }
    #expect(kea.text("team/moa/\(name)/cmdline") == "cmdline of \(moa.machine.last.pid)")
  }

  // MARK: Shares

  @Test("a user has a share of all programs, and the others keep theirs")
  func programs() throws {
    for _ in 0..<256 {
      #expect(kea.start("moa", "sleep 9") != nil)
      // When it has started, its memory no longer counts for the starter.
      #expect(moa.machine.last.order.user == "ann")
    }
    #expect(kea.write("team/moa/new", "sleep 9") == .noServerResources)
    #expect(kea.text("team/moa/new")?.contains("ann@kea has as many programs on moa") == true)
    #expect(kea.start("moa", "ls", as: "bob") != nil)
    #expect(moa.start("moa", "ls", as: "ann") != nil)
    #expect(moa.start("moa", "ls", as: "root") != nil)
    #expect(moa.team.shareCounts.programs == 259)
    for program in moa.machine.programs.values { program.become(.exited(0)) }
    // Of each starter the last ended ones are kept.
    #expect(moa.team.shareCounts.programs == 64 + 3)
    #expect(kea.start("moa", "ls") != nil)
    moa.team.endPrograms()
    #expect(moa.team.shareCounts == (0, 0))
  }

  @Test("one user's ended programs push out no other's")
  func ended() throws {
    let (_, name) = try #require(moa.start("moa", "make", as: "bob"))
    moa.machine.last.become(.exited(2))
    for _ in 0..<70 {
      #expect(kea.start("moa", "true") != nil)
      moa.machine.last.become(.exited(0))
    }
    #expect(moa.text("team/moa/\(name)/wait", as: "bob") == "exited 2\n")
  }

  @Test("files of processes that a user has open have a bounded size in all")
  func snapshots() throws {
    let (new, name) = try #require(kea.start("moa", "sleep 9"))
    new.release()
    let before = moa.team.shareCounts.octets
    moa.machine.contents[.environ] = [UInt8](repeating: 0x61, count: 1 << 20)
    var open: [TeamOpen] = []
    while let file = kea.open("team/moa/\(name)/environ", .read), open.count < 20 {
      open.append(file)
    }
    #expect(open.count == 15 && kea.lastCode == .noServerResources)
    // No other user is affected.
    #expect(moa.open("team/moa/\(name)/environ", .read, as: "ann") != nil)
    #expect(moa.open("team/moa/\(name)/environ", .read, as: "root") != nil)
    for file in open { file.release() }
    #expect(kea.open("team/moa/\(name)/environ", .read) != nil)
    #expect(moa.team.shareCounts.octets == before + 3 << 20)
  }

  @Test("a user's incomplete requests have a bounded size in all")
  func gathered() throws {
    var open: [TeamOpen] = []
    let start = Array("length: 262144\n\necho ".utf8)
    while open.count < 80, let new = kea.open("team/moa/new", [.read, .write]) {
      guard new.write(start) == .ok else {
        #expect(new.read()?.contains("hold as much memory on moa") == true)
        break
      }
      open.append(new)
    }
    #expect(open.count == 64 && moa.machine.programs.isEmpty)
    #expect(kea.start("moa", "ls", as: "bob") != nil)
    for new in open { new.release() }
    #expect(kea.start("moa", "ls") != nil)
  }
}
