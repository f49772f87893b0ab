import Testing
import VGroupServer
import VObjects
import VProtocol

@Suite("Names of groups and members")
struct GroupNameTests {
  /// One letter with an accent: as one code point, and as two.
  private static let composed = Name([0xC3, 0xA9])
  private static let decomposed = Name([0x65, 0xCC, 0x81])

  @Test("two names that look alike are two: for groups, for entities, and in every list")
  func equivalence() {
    let (one, other) = (Self.composed, Self.decomposed)
    #expect("\(one)" == "\(other)")
    #expect(one != other && EntityID(groupNamed: one) != EntityID(groupNamed: other))
    var table = GroupTable(host: "kea")
    let ann = Principal(user: "ann", host: "kea")
    for name in [one, other] {
      #expect(table.make(name, traits("ann"), by: ann) == nil)
      #expect(table.join(name, traits("ann"), member("kea:x", "ann")) == nil)
    }
    #expect(table.join(one, traits("ann"), member("kea:x", "ann"))?.code == .duplicateName)
    for name in [one, other] {
      let whole = MemberName(name, on: "kea").whole
      let member = GroupMember(
        name: whole, owner: "ann", payer: ann, entity: .none, receiver: .program(.none))
      #expect(table.join("birds", traits("ann"), member) == nil)
    }
    #expect(table.groups.count == 3 && table.groups["birds"]?.members.count == 2)
  }

  @Test(
    "octets beyond ASCII are free",
    arguments: [
      [0xCC, 0x81, 0x78], [0xFF], [0x80, 0x20 + 1], [0x61], [0x61, 0x2E], [0xE2, 0x80, 0xA8],
    ] as [[UInt8]])
  func sound(octets: [UInt8]) {
    #expect(Name(octets).isGroupName && Name(octets).isMemberName)
    #expect(GroupTable.refusal(ofGroup: Name(octets)) == nil)
    #expect(MemberName(Name(octets), on: "kea").refusal == nil)
  }

  @Test(
    "an octet that ends a line or a word, or has a special meaning, is refused",
    arguments: [
      "", ".", "..", ".a", " a", "a ", "a:b", "a/b", "a\n", "a\0", "\t", "a\u{7F}", "\u{1B}[2J",
    ] as [Name])
  func unsound(name: Name) {
    #expect(GroupTable.refusal(ofGroup: name)?.code == .badArguments)
    #expect(!name.isMemberName)
    #expect(QueryGroup.Answer(host: "kea").with([name]).sound(about: "")?.members == [])
  }

  @Test("messages carry names as they are")
  func messages() throws {
    let odd = Name([0xFF, 0xCC, 0x81])
    let answer = QueryGroup.Answer(host: "kea").with([odd, Self.composed, Self.decomposed])
    let parsed = try QueryGroup.Answer(parsing: answer.message)
    #expect(parsed.members.map(\.name) == [odd, Self.composed, Self.decomposed])
    var change = ChangeGroup(.join, odd, host: "kea")
    change.member = Self.decomposed
    let same = try ChangeGroup(parsing: change.message)
    #expect(same.group == odd && same.member == Self.decomposed)
    let reply = GroupMessage.Answer(.ok, member: odd, words: "ok").message
    #expect(try GroupMessage.Answer(parsing: reply).member == odd)
  }

  @Test("a group's name has at most 64 octets and no blank; a member's may have one inside")
  func lengths() {
    #expect(Name([UInt8](repeating: 0xE9, count: 64)).isGroupName)
    #expect(!Name([UInt8](repeating: 0xE9, count: 65)).isGroupName)
    #expect(!Name("a b").isGroupName && Name("a b").isMemberName)
    let long = Name([UInt8](repeating: 0x61, count: 116))
    #expect(MemberName(long, on: "kea").refusal == nil)
    #expect(MemberName(Name(long.octets + [0x61]), on: "kea").refusal != nil)
  }

  @Test("the names of the system's groups are taken", arguments: WellKnownGroup.all.map(\.name))
  func system(name: Name) {
    #expect(GroupTable.refusal(ofGroup: name)?.code == .duplicateName)
  }

  @Test("a member is HOST:NAME, a program if it is NUMBER.PROGRAM")
  func members() {
    let own = MemberName("ann", on: "kea")
    #expect(own.whole == "kea:ann" && !own.isProgram)
    let program = MemberName("moa:12.sort", on: "kea")
    #expect(program.host == "moa" && program.name == "12.sort" && program.isProgram)
    for name in ["12", "12.", ".12", "a.sort", "99999999999.sort"] as [Name] {
      #expect(!MemberName(name, on: "kea").isProgram)
    }
    let unsound = [
      Name([0xFF, 0x3A, 0x61]), ":a", "kea:", "kea:a:b", "k a:b", "kea:\n", "kea: a", "a/b:c",
    ]
    for name in unsound { #expect(MemberName(name, on: "kea").refusal?.code == .badArguments) }
  }

  @Test("a member's answer is one line, and is told apart from its name")
  func lines() {
    let odd = Name([0xCC, 0x81])
    let answer = GroupMessage.Answer(.ok, member: odd, words: "a\nkea:b: \u{2028}\u{1B}c")
    let words = GroupReports.words(answer)
    #expect(words == "a kea:b:   c")
    let text = GroupReports.text([odd: words], silent: ["a"])
    #expect(text == Array("a: no answer\n".utf8) + odd.octets + Array(": \(words)\n".utf8))
    let long = GroupMessage.Answer(.ok, member: odd, words: String(repeating: "w", count: 9999))
    #expect(GroupReports.words(long).utf8.count == 256)
  }
}

extension QueryGroup.Answer {
  /// With members of these names, and no owners.
  func with(_ names: [Name]) -> QueryGroup.Answer {
    var answer = self
    answer.members = names.map { QueryGroup.Member($0, owner: "ann") }
    return answer
  }
}

func traits(_ owner: String, _ permissions: UInt32 = 0o755, madeAt: Int64 = 1) -> GroupTraits {
  GroupTraits(madeAt: madeAt, owner: owner, permissions: permissions)
}

func member(_ name: Name, _ owner: String, by payer: Principal? = nil) -> GroupMember {
  GroupMember(
    name: name, owner: owner, payer: payer ?? Principal(user: owner, host: "kea"), entity: .none,
    receiver: .program(.none))
}
