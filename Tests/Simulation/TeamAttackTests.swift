import Testing
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime
import VStore
import VTeamServer

@Suite("Attacks on programs in the simulator")
struct TeamAttackTests {
  private let simulator = Simulator(seed: 8)
  private let kea: TeamHost
  private let moa: TeamHost

  private struct Stranger {
    var host: TeamHost
    var user: String
    var isRootFull = true

    /// The result of an operation as this principal.
    func tries<Value>(_ body: (TeamHost, String) -> Value) -> Value {
      host.isRootFull = isRootFull
      defer { host.isRootFull = true }
      return body(host, user)
    }
  }

  init() {
    kea = TeamHost("kea", in: simulator)
    moa = TeamHost("moa", in: simulator)
    simulator.run(for: .seconds(12))
  }

  /// They have no rights over programs of moa's root, nor of ann.
  private var strangers: [Stranger] {
    [
      Stranger(host: moa, user: "eve"), Stranger(host: moa, user: "root", isRootFull: false),
      Stranger(host: moa, user: "nobody"), Stranger(host: kea, user: "eve"),
      Stranger(host: kea, user: "root"), Stranger(host: kea, user: "root", isRootFull: false),
    ]
  }

  @Test(
    "knowing the number of an instance gives no right, not even to end it",
    arguments: ["root", "ann"])
  func instances(own: String) throws {
    let (new, name) = try #require(moa.start("moa", "attached: yes\n\nsh", as: own))
    let program = moa.machine.last
    let input = try #require(moa.open("team/moa/\(name)/in", .write, as: own))
    let output = try #require(moa.open("team/moa/\(name)/out", .read, as: own))
    program.say("secret")
    // The same name on another host is another principal, and root uses names.
    let others = [
      Stranger(host: kea, user: own),
      Stranger(host: moa, user: own == "root" ? "ann" : "root"),
    ]
    for stranger in strangers + others {
      stranger.tries { host, user in
        for instance in [new, input, output] {
          let stolen = instance.stolen(by: user, on: host)
          #expect(stolen.write("touch /root/x\n") == .noPermission)
          #expect(stolen.read() == nil)
          #expect(stolen.code(QueryInstance(instance.instance)) == .noPermission)
          #expect(stolen.code(ReleaseInstance(instance.instance)) == .noPermission)
        }
      }
    }
    #expect(program.input.isEmpty && !program.isInputEnded && !program.isHungUp)
    #expect(moa.machine.programs.count == 1 && moa.team.instanceCount == 3)
    #expect(input.write("ls\n") == .ok && program.input == Array("ls\n".utf8))
    #expect(output.read() == "secret")
    input.release()
    #expect(program.isInputEnded && !program.isHungUp)
    new.release()
    #expect(program.isHungUp)
  }

  @Test("streams, memory and ctl are for the program's user and real root of its host")
  func files() throws {
    let (_, name) = try #require(kea.start("moa", "sleep 9"))
    let program = moa.machine.last
    let secrets: [(String, OpenMode)] = [
      ("in", .write), ("out", .read), ("err", .read), ("environ", .read), ("regions", .read),
      ("mem", .read), ("ctl", .write),
    ]
    func code(_ file: String, _ mode: OpenMode, _ user: String, on host: TeamHost) -> ReplyCode? {
      guard let opened = host.open("team/moa/\(name)/\(file)", mode, as: user) else {
        return host.lastCode
      }
      opened.release()
      return .ok
    }
    for (file, mode) in secrets {
      for stranger in strangers {
        #expect(stranger.tries { code(file, mode, $1, on: $0) } == .noPermission, "\(file)")
      }
      for (host, user) in [(kea, "ann"), (moa, "ann"), (moa, "root")] as [(TeamHost, String)] {
        #expect(code(file, mode, user, on: host) == .ok, "\(file)")
      }
    }
    // All rights of a mode are checked together.
    for mode in [[.read, .write], [.execute, .write], [.execute, .read]] as [OpenMode] {
      #expect(code("ctl", mode, "eve", on: moa) == .noPermission)
      #expect(code("status", mode, "eve", on: moa) == .noPermission)
    }
    #expect(code("status", .read, "eve", on: kea) == .ok)
    let entity = try #require(kea.entity(of: "moa/\(name)"))
    for stranger in strangers {
      stranger.tries { host, user in
        let answer = host.ask(ControlTeam(entity, "kill"), of: .programManagerGroup, as: user)
        #expect(answer?.refusal == .noPermission)
        #expect(host.write("team/moa/ctl", "guests off", as: user) == .noPermission)
      }
    }
    #expect(program.commands.isEmpty)
    #expect(moa.text("team/moa/status")?.hasSuffix("guests on\n") == true)
  }

  @Test("a message to a program's entity has its sender's rights, whatever name it gives")
  func messages() throws {
    _ = try #require(kea.start("moa", "sleep 9"))
    let program = moa.machine.last
    let entity = try #require(kea.entity(of: "moa/101.sleep"))
    func code(_ sender: String, by user: String, on host: TeamHost) -> ReplyCode? {
      let answer = host.ask(GroupMessage(sender: sender, text: "suspend"), of: entity, as: user)
      guard case .done(let told, _) = answer else { return nil }
      return told.outcome
    }
    for stranger in strangers {
      for sender in ["", "ann@moa", "ann@kea", "root@moa", "root@kea"] {
        #expect(stranger.tries { code(sender, by: $1, on: $0) } == .noPermission, "\(sender)")
      }
      let change = ChangeGroup(.join, "job", host: "moa")
      let answer = stranger.tries { $0.ask(change, of: entity, as: $1) }
      #expect(answer?.refusal == .illegalRequest)
    }
    // Root of the host may name senders; a malformed name does not mean root itself.
    for sender in ["eve@moa", "root@kea", "nobody@moa", "nobody", "root"] {
      #expect(code(sender, by: "root", on: moa) == .noPermission, "\(sender)")
    }
    #expect(program.commands.isEmpty)
    #expect(kea.text("team/moa/101.sleep/status")?.contains("groups") == false)
    for sender in ["ann@kea", "root@moa", ""] { #expect(code(sender, by: "root", on: moa) == .ok) }
    for host in [kea, moa] { #expect(code("eve@moa", by: "ann", on: host) == .ok) }
    #expect(program.commands.count == 5)
    let change = ChangeGroup(.join, "job", host: "moa")
    #expect(moa.ask(change, of: entity, as: "root")?.refusal == nil)
    #expect(kea.text("team/moa/101.sleep/status")?.hasSuffix("groups job\n") == true)
  }

  @Test("a program found after a restart is neither kept nor ended by others who look at it")
  func recovered() throws {
    for _ in 0..<2 { _ = try #require(kea.start("moa", "attached: yes\n\ncat")) }
    let programs = [101, 102].map { moa.machine.programs[$0]! }
    simulator.crash("moa")
    simulator.run(for: .seconds(5))
    let again = TeamHost("moa", in: simulator, on: moa.machine)
    simulator.run(for: .seconds(6))
    for user in ["eve", "root", "bob"] {
      let wait = try #require(again.open("team/moa/101.cat/wait", .read, as: user))
      wait.release()
      _ = try #require(again.open("team/moa/102.cat/wait", .read, as: user))
    }
    #expect(!programs[0].isHungUp && !programs[1].isHungUp)
    let out = try #require(kea.open("team/moa/101.cat/out", .read))
    simulator.run(for: .seconds(10))
    #expect(!programs[0].isHungUp && programs[1].isHungUp)
    out.release()
    #expect(programs[0].isHungUp)
  }

  @Test("a name is its octets, and not another name that looks like it")
  func names() throws {
    #expect(try #require(kea.start("moa", "K")).1 == "101.K")
    // The sign of the unit kelvin equals the letter when texts are compared.
    for name in ["101.\u{212A}", "+101.K", "0101.K", "101", "101.K/proc/+101", "101.K/proc/0101"] {
      #expect(kea.open("team/moa/\(name)", .read) == nil)
      #expect(kea.lastCode == .notFound, "\(name)")
    }
    #expect(kea.text("team/moa/101.K/proc/101") == "status of 101")
  }
}
