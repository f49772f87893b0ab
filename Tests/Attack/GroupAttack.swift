import Testing
import VProtocol
import VRuntime

/// The attacks on the group `own`, mode 700, in which ann has a mailbox.
///
/// A user of that name is the same one on every host; root of another host is nobody.
struct GroupAttack {
  private let host: AttackedHost
  private let group = EntityID(groupNamed: "own")

  init() throws { host = try AttackedHost() }

  // MARK: messages

  /// Only its owner and root of the host send to it.
  func messages() throws {
    let mailbox = try host.open("group/own/members/ann", .read)
    let read = ReadInstance(mailbox.instance, position: 0, count: 1024).message
    for who in Who.strangers {
      let said = host.send(GroupMessage(sender: "ann@kea", text: "forged").message, group, as: who)
      #expect(said.code == .noPermission, "\(who) sends")
      #expect(said.message.segment.isEmpty, "\(who) learns a name")
    }
    // A sender cannot forge another one's line, or control a terminal.
    for text in ["a\nroot@kea: b", "\u{1B}[31m", "\u{7F}", "\u{9B}31m", "a\0"] {
      let said = host.send(GroupMessage(sender: "", text: text).message, group)
      #expect(said.code == .badArguments, "\(text.debugDescription): \(said.code)")
    }
    // The first message is the first that was sent: the attacks had no effect.
    for who in [.owner] + Who.heirs {
      let said = host.send(GroupMessage(sender: "bob@kea", text: "own").message, group, as: who)
      let answer = try GroupMessage.Answer(parsing: said.message)
      #expect(answer.outcome == .ok && answer.member == "kea:ann", "\(who)")
      let line = host.send(read, mailbox.manager).message.segment
      let expected = "\(who.user.name)@\(who.host): own\n"
      #expect(String(decoding: line, as: UTF8.self) == expected)
    }
  }

  // MARK: questions

  /// Its members are told to users who may pass it, and to the group servers of other hosts, which
  /// ask as root of their host.
  func questions() throws {
    for who in Who.allCases {
      let asked = host.send(QueryGroup("own").message, .groupManagerGroup, as: who)
      if Who.strangers.contains(who) && who != .foreignRoot {
        #expect(asked.code == .noPermission && asked.message.segment.isEmpty, "\(who)")
      } else {
        #expect(asked.code == .ok, "\(who)")
        #expect(try members(of: asked.message) == ["kea:ann"], "\(who)")
      }
    }
  }

  private func members(of answer: Message) throws -> [Name] {
    try QueryGroup.Answer(parsing: answer).members.map(\.name).sorted()
  }

  private func members() throws -> [Name] {
    try members(of: host.send(QueryGroup("own").message, .groupManagerGroup).message)
  }

  // MARK: changes

  private func code(
    _ change: ChangeGroup.Change, _ member: Name = "", _ who: Who
  ) -> ReplyCode {
    var operation = ChangeGroup(change, "own", host: "kea")
    operation.member = member
    return host.send(operation.message, .groupManagerGroup, as: who).code
  }

  /// Only its owner and root of the host change it.
  func changes() throws {
    let program = Name("kea:\(host.program)")
    for who in Who.strangers {
      // A mailbox is made on its own host, for any caller.
      let ofMailbox: ReplyCode = who.host == "kea" ? .noPermission : .badArguments
      #expect(code(.join, "kea:intruder", who) == ofMailbox, "\(who) joins")
      #expect(code(.join, program, who) == .noPermission, "\(who) has a program join")
      #expect(code(.leave, "kea:ann", who) == .noPermission, "\(who) takes a member out")
      #expect(code(.remove, "", who) == .notOwner, "\(who) removes it")
      #expect(try members() == ["kea:ann"], "\(who)")
    }
    for who in [.owner] + Who.heirs {
      if who.host == "kea" {
        #expect(code(.join, "kea:more", who) == .ok, "\(who)")
        #expect(try members() == ["kea:ann", "kea:more"])
        #expect(code(.leave, "kea:more", who) == .ok, "\(who)")
      } else {
        #expect(code(.join, "kea:more", who) == .badArguments, "\(who)")
      }
      #expect(code(.join, program, who) == .ok, "\(who)")
      #expect(try members() == [program, "kea:ann"].sorted())
      #expect(code(.leave, program, who) == .ok, "\(who)")
      #expect(code(.remove, "", who) == .contextNotEmpty, "\(who)")
      #expect(try members() == ["kea:ann"])
    }
    #expect(code(.leave, "kea:ann", .namesake) == .ok)
    #expect(code(.remove, "", .owner) == .ok)
    let gone = host.send(QueryGroup("own").message, .groupManagerGroup)
    #expect(gone.code == .notFound)
  }
}
