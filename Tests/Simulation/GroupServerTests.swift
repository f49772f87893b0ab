import NetworkFaults
import Testing
import VDirectory
import VGroupServer
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime

@Suite("Groups by their names in the simulator")
struct GroupServerTests {
  private let simulator = Simulator(seed: 11)
  private let hosts: [GroupHost]
  private var kea: GroupHost { hosts[0] }
  private var moa: GroupHost { hosts[1] }
  private var tui: GroupHost { hosts[2] }

  init() {
    let simulator = simulator
    hosts = ["kea", "moa", "tui"].map { GroupHost($0, in: simulator) }
    simulator.run(for: .seconds(1))
  }

  private func makeParrots() {
    #expect(kea.make("parrots", .context) == .ok)
    for host in hosts { #expect(host.make("parrots/members/ann", .file) == .ok) }
  }

  @Test(
    "a group that one host made exists on every host, with the same members")
  func everywhere() {
    #expect(moa.list("parrots") == nil)
    makeParrots()
    for host in hosts {
      #expect(host.list("")?.contains("parrots") == true)
      #expect(host.list("parrots") == ["members", "programs", "send", "datagram", "status"])
      let status = host.read("parrots/status") ?? ""
      #expect(status.contains("owner ann\npermissions 755\nmembers 3\nhosts kea moa tui\n"))
    }
    #expect(kea.list("parrots/members") == ["ann", "moa:ann", "tui:ann"])
    #expect(kea.list("parrots/programs") == [])
    #expect(moa.list("parrots/members") == ["kea:ann", "ann", "tui:ann"])
    #expect(tui.make("parrots", .context) == .duplicateName)
  }

  @Test("the prefix is each host's own: it is neither spread nor asked for")
  func local() {
    #expect(kea.directory.holder(of: Array("group".utf8)) == nil)
    let found = kea.ask(
      QueryName(ContextName(.none, Array("group/x".utf8))), of: .nameHandlingGroup,
      as: "ann")
    #expect(found?.refusal == .retransmissionTimeout)
    let answer = kea.ask(
      QueryName(ContextName(kea.directory.nameSpace.root, Array("group/x".utf8))),
      as: "ann")
    guard case .done(let place, _) = answer else {
      Issue.record("the directory does not know the name")
      return
    }
    #expect(place.manager == kea.groups.manager.server && place.prefixBytes == 5)
  }

  @Test("one group Send reaches every member once, and each answers")
  func send() {
    makeParrots()
    let before = kea.node.counters.multicastsSent
    #expect(kea.write("hello\n", to: "parrots/send") == .ok)
    #expect(
      kea.read("parrots/send") == "kea:ann: taken\nmoa:ann: taken\ntui:ann: taken\n")
    // Questions to the group servers, and one Send: no repetition, since no member was missing.
    #expect(kea.node.counters.multicastsSent - before < 12)
    for host in hosts {
      #expect(host.read("parrots/members/ann") == "ann@kea: hello\n")
    }
    #expect(moa.read("parrots/send") == "")
  }

  @Test("simultaneous lookups of a name share a question, and each user has a share of names")
  func looks() {
    makeParrots()
    func codes(_ names: [String], as user: ClientUser) -> [ReplyCode] {
      let codes = Shared<[ReplyCode]>([])
      for name in names {
        let path = ContextName(
          kea.directory.nameSpace.root, Array("group/\(name)".utf8))
        kea.clients.send(QueryObject(path), as: user, to: kea.directory.server) { answer in
          codes.value.append(answer.refusal ?? .ok)
        }
      }
      simulator.run(for: .seconds(10)) { codes.value.count == names.count }
      return codes.value
    }
    let before = kea.node.counters.multicastsSent
    let found = codes([String](repeating: "parrots", count: 40), as: "ann")
    #expect(found.count == 40 && found.allSatisfy { $0 == .ok })
    #expect(kea.node.counters.multicastsSent - before < 6)
    // A silent group server makes every lookup take long.
    simulator.crash("tui")
    let share = GroupServer.lookupsMax / ShareLimits.userPart
    let others = codes((0..<share + 20).map { "x\($0)" }, as: "eve")
    #expect(others.count { $0 == .notFound } == share && others.count { $0 == .busy } == 20)
    // Finished lookups give their share back.
    #expect(codes(["x"], as: "eve") == [.notFound])
    // A change of a group looks it up too; a missing name asks nobody.
    func leave(_ names: [Name]) -> [ReplyCode] {
      let codes = Shared<[ReplyCode]>([])
      for name in names {
        var change = ChangeGroup(.leave, name, host: "kea")
        change.member = "kea:eve"
        kea.clients.send(change, as: "eve", to: .groupManagerGroup) { answer in
          codes.value.append(answer.refusal ?? .ok)
        }
      }
      simulator.run(for: .seconds(10)) { codes.value.count == names.count }
      return codes.value
    }
    let left = leave((0..<share + 20).map { Name("y\($0)") })
    #expect(left.count { $0 == .notFound } == share && left.count { $0 == .busy } == 20)
    let listing = kea.node.counters.multicastsSent
    #expect(leave([""]) == [.notFound])
    #expect(kea.node.counters.multicastsSent == listing + 1)
  }

  @Test("at 5 % loss every reply comes, and each member gets the message once")
  func loss() {
    makeParrots()
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 5)
    for number in 0..<40 {
      #expect(kea.write("\(number)", to: "parrots/send") == .ok)
      #expect(
        kea.read("parrots/send") == "kea:ann: taken\nmoa:ann: taken\ntui:ann: taken\n")
    }
    for host in hosts {
      for number in 0..<40 {
        #expect(host.read("parrots/members/ann") == "ann@kea: \(number)\n")
      }
    }
  }

  @Test("a host that is down does not answer, and is not waited for long")
  func silent() {
    makeParrots()
    simulator.crash("tui")
    let start = simulator.now
    #expect(kea.write("hello", to: "parrots/send") == .ok)
    // Its members of the group are unknown.
    #expect(kea.read("parrots/send") == "kea:ann: taken\nmoa:ann: taken\ntui: no answer\n")
    #expect(simulator.now - start < .seconds(1))
    #expect(kea.list("parrots/members") == ["ann", "moa:ann"])
    #expect(kea.read("parrots/status")?.hasSuffix("hosts kea moa\nsilent tui\n") == true)
    #expect(simulator.now - start < .seconds(1))
    // The group outlives its maker.
    simulator.crash("kea")
    #expect(moa.read("parrots/status")?.contains("owner ann\n") == true)
  }

  @Test(
    "a host that has just started waits for known hosts, or reports them silent")
  func restart() {
    #expect(moa.make("parrots", .context, permissions: 0o777) == .ok)
    for host in [moa, tui] { #expect(host.make("parrots/members/ann", .file) == .ok) }
    // The context that every node serves lists the hosts.
    func claimHost(_ host: GroupHost) {
      let server = host.node.makeServer(knowsPrincipals: true) { _ in }
      let claim = ClaimName(
        prefix: Array("host/\(host.node.host)".utf8), context: ContextID(rawValue: 1),
        manager: server)
      #expect(host.ask(claim, as: "root")?.refusal == nil)
    }
    for host in hosts { claimHost(host) }
    simulator.run(for: .seconds(5))
    #expect(kea.directory.holder(of: Array("host/moa".utf8)) != nil)
    simulator.crash("kea")
    simulator.run(for: .seconds(1))
    // The network is still down when the first command comes.
    simulator.faults = Faults(loss: 100)
    let again = GroupHost("kea", in: simulator, claims: kea.claims)
    simulator.schedule(after: .milliseconds(700)) { [simulator] in simulator.faults = Faults() }
    #expect(again.write("hello", to: "parrots/send") == .ok)
    #expect(again.read("parrots/send") == "moa:ann: taken\ntui:ann: taken\n")
    // A host that stays away is reported, and delays nobody for long.
    simulator.crash("tui")
    #expect(again.write("more", to: "parrots/send") == .ok)
    #expect(again.read("parrots/send") == "moa:ann: taken\ntui: no answer\n")
  }

  @Test("members leave; a group without any can be removed, from any host, by its owner")
  func leave() {
    makeParrots()
    #expect(kea.remove("parrots", isContext: true) == .contextNotEmpty)
    #expect(kea.remove("parrots/members/tui:ann", as: "bob") == .notOwner)
    #expect(kea.remove("parrots/members/tui:ann") == .ok)
    #expect(tui.list("parrots/members") == ["kea:ann", "moa:ann"])
    #expect(tui.make("parrots/members/ann", .file) == .ok)
    for host in hosts { #expect(host.remove("parrots/members/ann") == .ok) }
    #expect(moa.write("hello", to: "parrots/send") == .notFound)
    #expect(moa.read("parrots/send") == "refused: parrots has no members\n")
    #expect(moa.remove("parrots", isContext: true, as: "bob") == .notOwner)
    #expect(moa.remove("parrots", isContext: true) == .ok)
    for host in hosts { #expect(host.list("parrots") == nil) }
  }

  @Test("sending and adding members needs the right to write; a mailbox is its owner's")
  func rights() {
    makeParrots()
    #expect(moa.open("parrots/send", .write, as: "bob") == nil)
    #expect(moa.make("parrots/members/bob", .file, as: "bob") == .noPermission)
    #expect(moa.open("parrots/members/ann", .read, as: "bob") == nil)
    #expect(moa.make("parrots/members/kea:bob", .file) == .badArguments)
    #expect(moa.remove("kernels", isContext: true, as: "root") == .notOwner)
  }

  @Test("a process that has a directory open cannot remove its names, as rm -r would")
  func keptWhileOpen() {
    makeParrots()
    let instance = kea.open("parrots/members", [.read, .directory])
    #expect(kea.remove("parrots/members/ann") == .inUse)
    _ = kea.ask(
      ReleaseInstance(instance!), of: kea.groups.manager.server, as: "ann")
    #expect(kea.remove("parrots/members/ann") == .ok)
  }

  @Test("a program is a member by its own entity, which gets the message with its sender")
  func program() {
    let heard = Shared<[String]>([])
    let program = moa.node.makeServer(knowsPrincipals: true) { [node = moa.node] request in
      guard request.message.mcb.code == GroupMessage.code,
        let message = try? GroupMessage(parsing: request.message)
      else { return }
      heard.value.append("\(message.sender) \(message.text) \(request.principal!)")
      node.reply(
        GroupMessage.Answer(.noPermission, member: "", words: "not yours").message, to: request)
    }
    var change = ChangeGroup(.join, "jobs", host: "moa")
    change.member = "moa:12.sort"
    change.owner = "bob"
    change.program = program
    // As a program's manager does: by a datagram, on its own host, and the group is made.
    moa.node.sendDatagram(
      change.message, from: moa.node.makeClient(user: "root"), to: .groupManagerGroup)
    simulator.run(for: .seconds(1))
    #expect(kea.list("jobs/members") == ["moa:12.sort"])
    #expect(kea.list("jobs/programs") == [Name("\(program)")])
    let link = ContextName(
      kea.directory.nameSpace.root, Array("group/jobs/programs/\(program)".utf8))
    guard case .done(let target, _) = kea.ask(ReadLink(link), as: "ann") else {
      Issue.record("the program has no name without a host")
      return
    }
    #expect(target.data == Array("../../../team/by-id/\(program)".utf8))
    #expect(kea.read("jobs/status")?.contains("owner bob\n") == true)
    #expect(kea.write("suspend", to: "jobs/send", as: "bob") == .ok)
    #expect(kea.read("jobs/send", as: "bob") == "moa:12.sort: not yours\n")
    #expect(heard.value == ["bob@kea suspend root@moa"])
    moa.node.retire(program)
    simulator.run(for: .seconds(6))
    #expect(kea.list("jobs/members") == [] && kea.list("jobs/programs") == [])
  }

  @Test("the groups of the system list each member that answers")
  func system() {
    for name in ["kernels", "group-managers", "name-handlers", "program-managers", "time-servers"]
      as [Name]
    {
      #expect(kea.list("")?.contains(name) == true)
    }
    #expect(kea.list("group-managers/members")?.count == 3)
    #expect(kea.read("group-managers/status")?.contains("members 3\n") == true)
    #expect(kea.write("x", to: "group-managers/status", as: "root") == nil)
  }
}
