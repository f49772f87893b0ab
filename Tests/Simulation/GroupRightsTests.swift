import Testing
import VGroupServer
import VKernel
import VNode
import VObjects
import VProtocol
import VRuntime

/// Attacks on groups: by users of this host, the same users of another, its root, and root of a
/// container.
@Suite("Rights of groups in the simulator")
struct GroupRightsTests {
  private let simulator = Simulator(seed: 12)
  private let hosts: [GroupHost]
  private var kea: GroupHost { hosts[0] }
  private var moa: GroupHost { hosts[1] }

  init() {
    let simulator = simulator
    hosts = ["kea", "moa", "tui"].map { GroupHost($0, in: simulator) }
    simulator.run(for: .seconds(1))
  }

  private var secret: EntityID { EntityID(groupNamed: "secret") }

  private func makeSecret(permissions: UInt32 = 0o700, as user: ClientUser = "ann") {
    #expect(kea.make("secret", .context, permissions: permissions, as: user) == .ok)
    #expect(kea.make("secret/members/box", .file, as: user) == .ok)
    #expect(moa.make("secret/members/box", .file, as: user) == .ok)
  }

  /// Sends directly to the entity, as a script can; returns the members' answers.
  private func say(_ text: String, _ host: GroupHost, as user: ClientUser) -> [ReplyCode] {
    let message = GroupMessage(sender: "ann@kea", text: text).message
    return host.collect(message, to: secret, as: user).map { response in
      guard response.code.isOK, let answer = try? GroupMessage.Answer(parsing: response.message)
      else {
        #expect(response.message.segment.isEmpty)
        return response.code
      }
      return answer.outcome
    }
  }

  /// Everybody but its owner, and root, which may do everything on its host.
  private var strangers: [(GroupHost, ClientUser)] {
    [
      (kea, "eve"), (moa, "eve"), (kea, .containerRoot), (moa, .containerRoot), (kea, "nobody"),
      (kea, "#7"), (hosts[2], "root"),
    ]
  }

  @Test(
    "names are octets: names that are not text, or look alike, are groups of their own")
  func octets() {
    let odd: [Name] = [
      Name([0xCC, 0x81, 0x78]), Name([0xC3, 0xA9]), Name([0x65, 0xCC, 0x81]), Name([0xFF]),
    ]
    func path(_ name: Name, _ rest: String) -> Name { Name(name.octets + Array(rest.utf8)) }
    for name in odd {
      #expect(kea.make(name, .context) == .ok)
      #expect(kea.make(Name(name.octets + Array("/members/".utf8) + name.octets), .file) == .ok)
    }
    for host in hosts {
      let names = host.list("")
      #expect(odd.allSatisfy { names?.contains($0) == true })
    }
    for name in odd {
      #expect(kea.list(path(name, "/members")) == [name])
      #expect(moa.list(path(name, "/members")) == [Name(Array("kea:".utf8) + name.octets)])
      #expect(moa.write("\(name.octets)", to: path(name, "/send")) == .ok)
      let box = Name(name.octets + Array("/members/".utf8) + name.octets)
      #expect(kea.read(box) == "ann@moa: \(name.octets)\n")
    }
    #expect(kea.make("a b", .context) == .badArguments)
    #expect(kea.make("a\nb", .context) == .badArguments)
  }

  @Test("a message without the right to send is refused, whatever way it is sent")
  func forged() {
    makeSecret()
    for (host, user) in strangers {
      #expect(host.open("secret/send", .write, as: user) == nil || host === hosts[2])
      let codes = say("forged", host, as: user)
      #expect(codes == [.noPermission, .noPermission], "\(host.node.host), \(user)")
    }
    // Root of a host may do everything there, and nothing elsewhere.
    #expect(Set(say("by root", kea, as: "root")) == [.ok, .noPermission])
    #expect(say("true", kea, as: "ann") == [.ok, .ok])
    #expect(say("as true", moa, as: "ann") == [.ok, .ok])
    // The sender is the client's principal, whatever the message says.
    #expect(kea.read("secret/members/box") == "root@kea: by root\n")
    for host in [kea, moa] {
      #expect(host.read("secret/members/box") == "ann@kea: true\n")
      #expect(host.read("secret/members/box") == "ann@moa: as true\n")
    }
  }

  @Test("a user who may look into a group but not send is refused by each member")
  func told() {
    makeSecret(permissions: 0o755)
    #expect(say("forged", moa, as: "eve") == [.noPermission, .noPermission])
    #expect(say("true", moa, as: "ann") == [.ok, .ok])
    #expect(kea.read("secret/members/box") == "ann@moa: true\n")
    #expect(kea.make("secret/members/eves", .file, as: "eve") == .noPermission)
  }

  @Test("the members of a group are told to group servers, and to users who may pass it")
  func questions() {
    makeSecret()
    let question = QueryGroup("secret").message
    for (host, user) in strangers where host !== hosts[2] {
      let answers = host.collect(question, to: .groupManagerGroup, as: user)
      #expect(answers.count == 3)
      #expect(answers.allSatisfy { !$0.code.isOK && $0.message.segment.isEmpty }, "\(user)")
      #expect(host.query("secret", as: user) == .ok)
      for path in ["secret/members", "secret/members/box", "secret/status", "secret/send"] as [Name]
      {
        #expect(host.query(path, as: user) == .noPermission, "\(path), \(user)")
      }
    }
    for user in ["ann", "root"] as [ClientUser] {
      let answers = moa.collect(question, to: .groupManagerGroup, as: user)
        .compactMap { try? QueryGroup.Answer(parsing: $0.message) }
      #expect(Set(answers.flatMap(\.members).map(\.name)) == ["kea:box", "moa:box"])
    }
    let names = moa.collect(QueryGroup("").message, to: .groupManagerGroup, as: "eve")
      .compactMap { try? QueryGroup.Answer(parsing: $0.message) }
    #expect(names.flatMap(\.members).map(\.name) == ["secret", "secret"])
    #expect(hosts[2].list("secret/members", as: "ann") == ["kea:box", "moa:box"])
  }

  @Test("a change needs the right to it, and is made on its own host")
  func changes() {
    makeSecret()
    func refusal(
      _ kind: ChangeGroup.Change, _ member: Name, _ host: GroupHost, as user: ClientUser,
      owner: String = "", program: EntityID = .none
    ) -> ReplyCode? {
      var change = ChangeGroup(kind, "secret", host: "kea")
      change.member = member
      change.owner = owner
      change.program = program
      return host.ask(change, of: .groupManagerGroup, as: user).map { $0.refusal ?? .ok }
    }
    let program = kea.node.makeServer(knowsPrincipals: true) { _ in }
    for (host, user) in strangers {
      #expect(refusal(.leave, "kea:box", host, as: user) == .noPermission)
      #expect(refusal(.remove, "", host, as: user) == .notOwner)
      #expect(
        refusal(.join, "kea:1.x", host, as: user, owner: "ann", program: program) == .noPermission)
      #expect(
        refusal(.join, "kea:boo", host, as: user)
          == (host === kea ? .noPermission : .badArguments))
    }
    #expect(refusal(.join, "kea:far", moa, as: "ann") == .badArguments)
    #expect(refusal(.join, "kea:1.x", kea, as: "root", owner: "ann", program: program) == .ok)
    #expect(kea.list("secret/members") == ["kea:1.x", "box", "moa:box"])
    #expect(refusal(.leave, "kea:box", moa, as: "ann") == .ok)
  }

  /// Asks kea's group server for a change, in a node of kea.
  private func change(
    _ kind: ChangeGroup.Change, _ member: Name, of group: Name, as user: ClientUser,
    _ permissions: UInt8? = nil, owner: String = "", program: EntityID = .none
  ) -> ReplyCode? {
    var change = ChangeGroup(kind, group, host: "kea")
    change.member = member
    change.owner = owner
    change.program = program
    change.permissions = permissions.map { MembershipPermissions(rawValue: $0) }
    return kea.ask(change, of: .groupManagerGroup, as: user).map { $0.refusal ?? .ok }
  }

  @Test("G12: an open group takes everybody, with the usual permissions at most")
  func openGroup() {
    #expect(kea.make("open", .context, permissions: 0o777) == .ok)
    #expect(change(.join, "kea:eves", of: "open", as: "eve", 0x80) == .noPermission)
    #expect(change(.join, "kea:eves", of: "open", as: "eve") == .ok)
    // It may be removed by its user, but not by another one without the right.
    #expect(change(.join, "kea:bobs", of: "open", as: "bob", 0x06) == .ok)
    #expect(change(.leave, "kea:bobs", of: "open", as: "eve") == .notOwner)
    #expect(change(.leave, "kea:eves", of: "open", as: "bob") == .notOwner)
    #expect(change(.leave, "kea:eves", of: "open", as: "eve") == .ok)
    // Not even its user removes one that does not let itself be removed; the group's owner does.
    #expect(change(.join, "kea:stays", of: "open", as: "eve", 0x40) == .ok)
    #expect(change(.leave, "kea:stays", of: "open", as: "eve") == .notOwner)
    #expect(change(.leave, "kea:stays", of: "open", as: "ann") == .ok)
    #expect(change(.leave, "kea:bobs", of: "open", as: "ann") == .ok)
    #expect(kea.list("open/members") == [])
  }

  @Test("G12: in a group that is closed to its user, a member gives what it has and no more")
  func closedGroup() {
    #expect(kea.make("team", .context, permissions: 0o700) == .ok)
    #expect(change(.join, "kea:box", of: "team", as: "ann", 0xFF) == .ok)
    #expect(change(.join, "kea:eves", of: "team", as: "eve") == .noPermission)
    let programs = (0..<2).map { _ in kea.node.makeServer(knowsPrincipals: true) { _ in } }
    func start(_ member: Name, _ owner: String, _ index: Int, _ permissions: UInt8?) -> ReplyCode? {
      change(
        .join, member, of: "team", as: "root", permissions, owner: owner, program: programs[index])
    }
    // Root of the host may give a user's program any permissions; without that it asks as its user.
    #expect(start("kea:1.x", "eve", 0, nil) == .noPermission)
    #expect(start("kea:1.x", "eve", 0, 0x92) == .ok)
    #expect(change(.join, "kea:eves", of: "team", as: "eve", 0x40) == .noPermission)
    #expect(change(.join, "kea:eves", of: "team", as: "eve", 0x12) == .ok)
    #expect(change(.join, "kea:bobs", of: "team", as: "bob", 0x02) == .noPermission)
    // To remove its own program eve would need 40; others' members that let it, 80.
    #expect(change(.leave, "kea:1.x", of: "team", as: "eve") == .notOwner)
    #expect(start("kea:2.y", "bob", 1, 0x02) == .ok)
    #expect(change(.leave, "kea:2.y", of: "team", as: "eve") == .notOwner)
    #expect(change(.leave, "kea:box", of: "team", as: "eve") == .ok)
    #expect(change(.leave, "kea:eves", of: "team", as: "eve") == .ok)
    #expect(kea.list("team/members") == ["kea:1.x", "kea:2.y"])
  }

  @Test("a group of one host's root belongs neither to another root nor to a container's")
  func rootsGroup() {
    makeSecret(as: "root")
    #expect(moa.read("secret/status", as: "root")?.contains("owner root@kea\n") == true)
    for (host, user) in [(moa, .containerRoot), (kea, .containerRoot), (moa, "ann")]
      as [(GroupHost, ClientUser)]
    {
      #expect(say("forged", host, as: user) == [.noPermission, .noPermission])
    }
    // Its owner can send to the member that another root has added.
    #expect(say("true", kea, as: "root") == [.ok, .ok])
    #expect(Set(say("mine", moa, as: "root")) == [.ok, .noPermission])
    #expect(kea.remove("secret/members/box", as: .containerRoot) == .noPermission)
  }

  @Test("root of a container is nobody through the names of groups too, on every host")
  func container() {
    makeSecret(permissions: 0o755, as: "root")
    #expect(kea.remove("secret/members/moa:box", as: .containerRoot) == .notOwner)
    #expect(kea.remove("secret/members/box", as: .containerRoot) == .notOwner)
    #expect(kea.open("secret/send", .write, as: .containerRoot) == nil)
    #expect(kea.list("secret/members") == ["box", "moa:box"])
    #expect(kea.make("open", .context, permissions: 0o777) == .ok)
    #expect(moa.make("open/members/box", .file) == .ok)
    #expect(kea.write("x", to: "open/send", as: .containerRoot) == .ok)
    #expect(moa.read("open/members/box") == "nobody@kea: x\n")
    #expect(kea.make("its", .context, as: .containerRoot) == .ok)
    #expect(kea.read("its/status")?.contains("owner nobody\n") == true)
  }

  @Test("the younger of two groups of one name ends when the hosts meet, with its members")
  func madeTwice() {
    makeSecretOnMoa()
    for other in ["moa", "tui"] { simulator.partition("kea", other) }
    simulator.run(for: .seconds(5))
    #expect(kea.make("secret", .context, permissions: 0o777, as: "eve") == .ok)
    #expect(kea.make("secret/members/eves", .file, as: "eve") == .ok)
    #expect(kea.read("secret/status", as: "eve")?.contains("owner eve\n") == true)
    simulator.heal()
    // The hosts find each other, the group is looked up, and the younger one ends.
    simulator.run(for: .seconds(15))
    #expect(moa.read("secret/status")?.contains("owner ann\n") == true)
    simulator.run(for: .seconds(1))
    #expect(moa.write("true", to: "secret/send") == .ok)
    #expect(moa.read("secret/send") == "moa:box: taken\n")
    #expect(kea.list("secret", as: "eve") == nil)
    #expect(kea.read("secret/status")?.contains("owner ann\npermissions 700\nmembers 1\n") == true)
  }

  private func makeSecretOnMoa() {
    #expect(moa.make("secret", .context, permissions: 0o700) == .ok)
    #expect(moa.make("secret/members/box", .file) == .ok)
  }

  @Test("one user's groups, members and messages leave room for others'")
  func shares() {
    for number in 0..<50 { #expect(kea.make(Name("e\(number)"), .context, as: "eve") == .ok) }
    #expect(kea.make("e50", .context, as: "eve") == .noServerResources)
    makeSecret(permissions: 0o777)
    for number in 0..<16 {
      #expect(kea.make(Name("secret/members/e\(number)"), .file, as: "eve") == .ok)
    }
    #expect(kea.make("secret/members/e16", .file, as: "eve") == .noServerResources)
    for number in 0..<16 {
      #expect(kea.remove(Name("secret/members/e\(number)"), as: "eve") == .ok)
    }
    for _ in 0..<64 { #expect(say("flood", kea, as: "eve") == [.ok, .ok]) }
    let full: Set<ReplyCode> = [.noServerResources]
    #expect(Set(say("flood", kea, as: "eve")) == full)
    #expect(say("true", kea, as: "bob") == [.ok, .ok])
  }

  @Test("no question and no change is kept by a kernel that it is not for")
  func records() {
    makeSecret()
    let tui = hosts[2]
    for _ in 0..<20 { #expect(kea.query("secret") == .ok) }
    #expect(kea.make("secret/members/moa:1.x", .file) == .notFound)
    #expect(kea.remove("secret/members/moa:box") == .ok)
    #expect(!tui.node.clients.isEmpty)
    // A silent kernel would be dropped with all its requests.
    for _ in 0..<40 {
      simulator.run(for: .seconds(1))
      #expect(kea.query("secret") == .ok)
    }
    #expect(tui.node.clients.filter { $0.server != .none }.isEmpty)
  }

  @Test("a group server drops entries of the user who asked for too much")
  func reports() {
    makeSecret(permissions: 0o777)
    #expect(kea.write("true", to: "secret/send") == .ok)
    for number in 0..<20 {
      #expect(kea.make(Name("e\(number)"), .context, as: "eve") == .ok)
      #expect(kea.write("x", to: Name("e\(number)/send"), as: "eve") == .notFound)
    }
    #expect(kea.read("secret/send") == "kea:box: taken\nmoa:box: taken\n")
    #expect(kea.read("e19/send", as: "eve") == "refused: e19 has no members\n")
    #expect(kea.read("e0/send", as: "eve") == "")
  }
}
