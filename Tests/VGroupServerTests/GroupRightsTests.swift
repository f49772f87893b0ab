import Testing
import VGroupServer
import VObjects
import VProtocol

@Suite("Rights of groups")
struct GroupRightsTests {
  /// The sender of a request to a group server of kea.
  private static func caller(
    _ user: String, _ host: String = "kea", _ marks: Principal.Marks = []
  ) -> Caller {
    let request = Request(
      client: .none, transaction: TransactionID(1), addressee: .none, server: .none,
      forwardCount: 0, message: Message(reply: .ok),
      principal: Principal(user: user, host: host, marks: marks), isLocal: host == "kea")
    return GroupUser.caller(of: request, at: "kea")
  }

  private static let own = caller("root", "kea", .fullRoot)
  private static let foreign = caller("root", "moa", .fullRoot)
  private static let limited = caller("root")
  private static let foreignLimited = caller("root", "moa")

  @Test("a user is the same on every host; root and numbers are their own host's")
  func names() {
    let cases: [(Caller, String)] = [
      (Self.caller("ann"), "ann"), (Self.caller("ann", "moa"), "ann"),
      (Self.own, "root@kea"), (Self.foreign, "root@moa"),
      (Self.limited, "nobody"), (Self.foreignLimited, "nobody"),
      (Self.caller("#7"), "#7@kea"), (Self.caller("#7", "moa"), "#7@moa"),
      (Self.caller("root@kea", "moa"), "root@kea@moa"), (Self.caller("a@b"), "a@b@kea"),
    ]
    for (caller, name) in cases {
      #expect(GroupUser.name(of: caller.user, at: "kea") == name)
    }
    #expect(GroupUser.name(of: Principal(user: "root", host: "moa")) == "root@moa")
    #expect(GroupUser.name(of: Principal(user: "ann", host: "moa")) == "ann")
    #expect(GroupUser.name(of: Principal(user: "#7", host: "moa")) == "#7@moa")
    #expect(GroupUser.name(of: Principal(user: "a@b", host: "moa")) == "a@b@moa")
  }

  @Test("objects of root or a number of this host belong to them, and to nobody of another host")
  func owners() {
    let cases: [(owner: String, is: [Caller], isNot: [Caller])] = [
      (
        "root@kea", [Self.own],
        [
          Self.foreign, Self.limited, Self.foreignLimited, Self.caller("root@kea", "moa"),
          Self.caller("root@kea"), Self.caller("ann"),
        ]
      ),
      // Root of this host may do everything here, whoever the owner is.
      ("root@moa", [Self.foreign, Self.own], [Self.limited, Self.foreignLimited]),
      ("#7@kea", [Self.caller("#7")], [Self.caller("#7", "moa"), Self.caller("#8")]),
      ("#7@moa", [Self.caller("#7", "moa")], [Self.caller("#7")]),
      (
        "ann", [Self.caller("ann"), Self.caller("ann", "moa")], [Self.caller("bob"), Self.foreign]
      ),
      ("a@b@kea", [Self.caller("a@b")], [Self.caller("a@b", "moa"), Self.caller("a")]),
    ]
    for (owner, theirs, others) in cases {
      let about = traits(owner, 0o700)
      for caller in theirs {
        #expect(about.mayBeWritten(by: caller, at: "kea"), "\(owner), \(caller.principal)")
        #expect(about.mayBePassed(by: caller, at: "kea"))
      }
      for caller in others {
        #expect(!about.mayBeWritten(by: caller, at: "kea"), "\(owner), \(caller.principal)")
        #expect(!about.mayBePassed(by: caller, at: "kea"))
      }
    }
  }

  @Test("a message needs the rights to pass the group and to write it")
  func modes() {
    let eve = Self.caller("eve", "moa")
    for permissions: UInt32 in 0...7 {
      let about = traits("ann", permissions)
      #expect(about.mayBeWritten(by: eve, at: "kea") == (permissions & 3 == 3))
      #expect(about.mayBePassed(by: eve, at: "kea") == (permissions & 1 == 1))
    }
  }

  @Test("root of a container is not shown as root to the receiver of a message")
  func senders() {
    #expect(GroupUser.sender(Self.own.principal) == "root@kea")
    #expect(GroupUser.sender(Self.limited.principal) == "nobody@kea")
    #expect(GroupUser.sender(Self.caller("ann", "moa").principal) == "ann@moa")
    #expect(GroupUser.isGroupServer(Self.foreign.principal))
    #expect(!GroupUser.isGroupServer(Self.limited.principal))
    #expect(!GroupUser.isGroupServer(Self.caller("ann").principal))
  }

  @Test("a program counts in its owner's share")
  func payers() {
    #expect(
      GroupUser.principal(of: "root", at: "kea")
        == Principal(user: "root", host: "kea", marks: .fullRoot))
    #expect(GroupUser.principal(of: "ann", at: "kea") == Principal(user: "ann", host: "kea"))
    #expect(GroupUser.principal(of: "root@moa", at: "kea") == Principal(user: "root", host: "moa"))
  }
}

@Suite("Groups as group servers see them")
struct GroupViewTests {
  private static func answer(
    _ host: String, madeAt: Int64, _ owner: String, _ members: [Name] = []
  ) -> QueryGroup.Answer {
    var answer = QueryGroup.Answer(host: host).with(members)
    answer.madeAt = madeAt
    answer.owner = owner
    answer.permissions = 0o700
    return answer
  }

  @Test("of two groups with one name the earlier one is shown, marked as disputed")
  func disputed() throws {
    let (ann, eve) = (
      Self.answer("moa", madeAt: 1, "ann", ["moa:x"]),
      Self.answer("kea", madeAt: 2, "eve", ["kea:y"])
    )
    for answers in [[ann, eve], [eve, ann]] {
      let view = try #require(GroupView(answers))
      #expect(view.about.owner == "ann" && view.isDisputed)
      #expect(view.members.map(\.name) == ["kea:y", "moa:x"] && view.hosts == ["kea", "moa"])
    }
    #expect(GroupView([ann, Self.answer("tui", madeAt: 1, "ann")])?.isDisputed == false)
    #expect(GroupView([Self.answer("tui", madeAt: 1, "eve"), ann])?.about.owner == "ann")
    #expect(GroupView([]) == nil)
  }

  @Test("a group server tells of its own members only, and of no name that breaks a line")
  func sound() {
    let answer = Self.answer("kea", madeAt: 1, "ann", ["kea:a", "moa:b", "a\nb", "kea:c\nd"])
    #expect(answer.sound(about: "birds")?.members.map(\.name) == ["kea:a"])
    for host in ["", "k a", "k\na"] {
      #expect(Self.answer(host, madeAt: 1, "ann").sound(about: "birds") == nil)
    }
    let long = String(repeating: "o", count: 97)
    for owner in ["a\nb", "a b", long] {
      #expect(Self.answer("kea", madeAt: 1, owner).sound(about: "birds") == nil)
    }
  }

  @Test("64 members of the longest names, and 200 groups, fit into an answer each")
  func sizes() {
    var answer = Self.answer("kea", madeAt: 1, String(repeating: "o", count: GroupUser.bytesMax))
    let name = Name([UInt8](repeating: 0xFF, count: Name.memberBytesMax))
    answer.members = Array(
      repeating: QueryGroup.Member(
        name, owner: answer.owner, program: EntityID(rawValue: 0xBFFF_FFFF_FFFF_FFFF)),
      count: GroupTable.membersMax)
    #expect(answer.message.segment.count <= Message.segmentBytesMax)
    let group = Name([UInt8](repeating: 0xFF, count: Name.groupBytesMax))
    answer.members = Array(
      repeating: QueryGroup.Member(group, owner: ""), count: GroupTable.groupsMax)
    #expect(answer.message.segment.count <= Message.segmentBytesMax)
  }

  @Test("of a group that was never looked up, only the name is shown, and only root passes it")
  func nameOnly() throws {
    var views = GroupViews()
    views.note(names: ["birds"])
    let view = try #require(views.shown("birds"))
    let nobody = Principal(user: "nobody", host: "kea")
    for user in ["nobody", ""] {
      let caller = Caller(principal: nobody, user: user, isLocal: true)
      #expect(view.about.access(0o777, at: "kea").rights(of: caller) == 0)
    }
    #expect(views["birds"] == nil && views.shown("fish") == nil)
    views.note(nil, of: "birds", at: Time(nanoseconds: 1))
    #expect(views.shown("birds") == nil)
  }

  @Test("beyond the bound the group is dropped that was looked up longest ago")
  func bound() throws {
    var views = GroupViews()
    let view = try #require(GroupView([Self.answer("kea", madeAt: 1, "ann")]))
    for number in 0...GroupViews.viewsMax {
      views.note(view, of: Name("g\(number)"), at: Time(nanoseconds: Int64(number + 1)))
      // Used all the time.
      views.note(view, of: "g0", at: Time(nanoseconds: Int64(number + 1)))
    }
    #expect(views["g0"] != nil && views["g1"] == nil && views["g2"] != nil)
  }
}
