import Testing
import VGroupServer
import VObjects
import VProtocol
import VRuntime

@Suite("Shares of a group server")
struct GroupShareTests {
  private let ann = Principal(user: "ann", host: "kea")
  private let eve = Principal(user: "eve", host: "kea")
  private let root = Principal(user: "root", host: "kea", marks: .fullRoot)

  @Test("one user's groups leave room for others', and are given back")
  func groups() {
    var table = GroupTable(host: "kea")
    let made = (0..<GroupTable.groupsMax).prefix { number in
      table.make(Name("e\(number)"), traits("eve"), by: eve) == nil
    }
    #expect(made.count == 50)
    let refusal = table.make("more", traits("eve"), by: eve)
    #expect(refusal?.code == .noServerResources && refusal?.words.contains("eve@kea") == true)
    // Joining groups that were made elsewhere counts too.
    #expect(
      table.join("far", traits("moe"), member("kea:x", "eve"))?.code == .noServerResources)
    #expect(table.make("annes", traits("ann"), by: ann) == nil)
    #expect(table.make("roots", traits("root@kea"), by: root) == nil)
    #expect(table.remove("e0") == nil)
    #expect(table.make("more", traits("eve"), by: eve) == nil)
    #expect(table.groups.count == 52)
  }

  @Test("a user who does not own a group has a quarter of it, and all such leave one to the owner")
  func members() {
    var table = GroupTable(host: "kea")
    #expect(table.make("birds", traits("ann", 0o777), by: ann) == nil)
    func join(_ user: String) -> Int {
      (0..<100).prefix { number in
        table.join(
          "birds", traits("ann", 0o777), member(Name("kea:\(user)\(number)"), user)) == nil
      }.count
    }
    #expect(["eve", "bob", "tom", "sue"].map(join) == [16, 16, 16, 0])
    #expect(join("ann") == 16)
    #expect(table.groups["birds"]?.members.count == GroupTable.membersMax)
  }

  @Test("one user's members of all groups leave room for others'")
  func allMembers() {
    var table = GroupTable(host: "kea")
    var count = 0
    for group in 0..<50 {
      let name = Name("e\(group)")
      #expect(table.make(name, traits("eve"), by: eve) == nil)
      for number in 0..<64
      where table.join(name, traits("eve"), member(Name("kea:\(number)"), "eve")) == nil {
        count += 1
      }
    }
    #expect(count == GroupTable.allMembersMax / 4)
    #expect(table.join("birds", traits("ann"), member("kea:x", "ann")) == nil)
    #expect(table.leave("e0", "kea:0", at: Time(nanoseconds: 1))?.owner == "eve")
    #expect(table.join("e0", traits("eve"), member("kea:0", "eve")) == nil)
  }

  @Test("a group that was made elsewhere counts in its members' shares")
  func payers() {
    var table = GroupTable(host: "kea")
    for number in 0..<50 {
      let name = Name("g\(number)")
      #expect(table.join(name, traits("moe"), member("kea:ann", "ann")) == nil)
      #expect(table.join(name, traits("moe"), member("kea:eve", "eve")) == nil)
      #expect(table.leave(name, "kea:ann", at: Time(nanoseconds: 1)) != nil)
    }
    // All remaining members are eve's now.
    #expect(table.make("annes", traits("ann"), by: ann) == nil)
    #expect(table.make("more", traits("eve"), by: eve)?.code == .noServerResources)
    #expect(table.leave("g0", "kea:eve", at: Time(nanoseconds: 1)) != nil)
    // A group without members stays until its room is needed.
    #expect(table.groups["g0"]?.idleSince != nil)
    #expect(table.make("more", traits("eve"), by: eve) == nil)
    #expect(table.groups["g0"] == nil)
  }

  @Test("a group outlives its members for a time, and is the same one if others come")
  func idle() {
    var table = GroupTable(host: "kea")
    let start = Time(nanoseconds: 1_000_000_000)
    for name in ["job", "work", "birds"] as [Name] {
      #expect(table.join(name, traits("ann"), member("kea:1.x", "ann")) == nil)
      #expect(table.leave(name, "kea:1.x", at: start) != nil)
    }
    #expect(table.join("work", traits("ann"), member("kea:2.x", "ann")) == nil)
    // Only its owner can make it again.
    #expect(table.make("birds", traits("eve"), by: eve)?.code == .duplicateName)
    #expect(table.make("birds", traits("ann"), by: ann) == nil)
    table.forgetIdle(at: start + TimeSpan(nanoseconds: GroupTable.idleAge.nanoseconds - 1))
    #expect(table.groups.count == 3 && table.groups["job"]?.members.isEmpty == true)
    table.forgetIdle(at: start + GroupTable.idleAge)
    #expect(Set(table.groups.keys) == ["work", "birds"])
    #expect(table.remove("birds") == nil)
  }

  @Test("the younger of two groups of one name ends, and gives its share back")
  func end() {
    var table = GroupTable(host: "kea")
    for _ in 0..<60 {
      #expect(table.make("birds", traits("eve", madeAt: 2), by: eve) == nil)
      #expect(table.join("birds", traits("eve", madeAt: 2), member("kea:x", "eve")) == nil)
      #expect(table.end("birds", for: traits("eve", 0o777, madeAt: 2)).isEmpty)
      #expect(table.end("birds", for: traits("ann", madeAt: 3)).isEmpty)
      #expect(table.groups["birds"]?.about.owner == "eve")
      #expect(table.end("birds", for: traits("ann", madeAt: 1)).map(\.name) == ["kea:x"])
      #expect(table.groups.isEmpty)
    }
  }

  @Test("other group servers' questions cause a lookup every 5 s, not each time")
  func looks() {
    var table = GroupTable(host: "kea")
    let start = Time(nanoseconds: 1)
    #expect(!table.isLookDue(at: "birds", start))
    #expect(table.make("birds", traits("ann"), by: ann) == nil)
    #expect(table.isLookDue(at: "birds", start))
    table.noteLook(at: "birds", start)
    #expect(!table.isLookDue(at: "birds", start + .seconds(4)))
    #expect(table.isLookDue(at: "birds", start + .seconds(5)))
  }

  @Test(
    "one sender's messages leave room for others' in a mailbox, and are given back when it ends")
  func mailbox() {
    let all = MessageShares(host: "kea")
    let mailbox = Mailbox(host: "kea", all)
    func put(_ user: String, _ host: String = "kea") -> Int {
      (0..<1000).prefix { _ in mailbox.put("x", from: Principal(user: user, host: host)) }.count
    }
    #expect(put("eve") == 64)
    // All users of another host, its numbers and its root included, have one share together.
    #expect(["eve", "#1", "#2", "root"].map { put($0, "moa") } == [64, 32, 0, 0])
    #expect(put("ann") == 64)
    #expect(mailbox.count == 224 && all.count == 224)
    #expect(mailbox.put("x", from: root))
    mailbox.close()
    #expect(all.count == 0 && mailbox.count == 0)
    #expect(!mailbox.put("x", from: ann))
    #expect(all.count == 0)
  }

  @Test("one sender's messages to many mailboxes leave room for others' on the host")
  func mailboxes() {
    let all = MessageShares(host: "kea")
    let mailboxes = (0..<100).map { _ in Mailbox(host: "kea", all) }
    let taken = mailboxes.map { mailbox in (0..<64).count { _ in mailbox.put("x", from: eve) } }
    #expect(taken.reduce(0, +) == MessageShares.messagesMax / 4)
    #expect(mailboxes[99].put("x", from: ann))
  }

  @Test("a user's reports drop that user's oldest, however many numbers send")
  func reports() {
    var reports = GroupReports(host: "kea")
    func key(_ group: Int, _ user: String) -> GroupReports.Key {
      GroupReports.Key(group: Name("\(group)"), principal: Principal(user: user, host: "kea"))
    }
    reports[key(0, "ann")] = [1]
    for number in 0..<1000 {
      reports[key(number, "eve")] = [2]
      reports[key(0, "#\(number)")] = [3]
    }
    #expect(reports[key(0, "ann")] == [1])
    #expect(reports[key(999, "eve")] == [2] && reports[key(983, "eve")] == [])
    #expect(reports[key(0, "#999")] == [3] && reports[key(0, "#983")] == [])
    #expect(reports.count == 1 + 2 * GroupReports.userReportsMax)
    reports[key(0, "ann")] = [UInt8](repeating: 4, count: GroupReports.textBytesMax + 1)
    #expect(reports[key(0, "ann")].count == GroupReports.textBytesMax)
    // Beyond the limit of all reports the oldest is dropped.
    for number in 0..<GroupReports.reportsMax { reports[key(0, "u\(number)")] = [5] }
    #expect(reports.count == GroupReports.reportsMax && reports[key(0, "ann")] == [])
  }
}
