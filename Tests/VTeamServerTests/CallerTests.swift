import Testing
import VObjects
import VProtocol
import VTeamServer

@Suite("The caller of a team server")
struct CallerTests {
  private let rules = RunRules(["*@kea", "root@kea"], host: "moa")!

  private func request(_ principal: Principal?, isLocal: Bool) -> Request {
    Request(
      client: .none, transaction: TransactionID(1), addressee: .none, server: .none,
      forwardCount: 0, message: Message(reply: .ok), principal: principal, isLocal: isLocal)
  }

  private func user(_ text: String, _ marks: Principal.Marks = [], isLocal: Bool = false) -> String
  {
    rules.caller(of: request(Principal(text, marks: marks), isLocal: isLocal)).user
  }

  @Test("is the user of the same name, of another host only if that user may run programs here")
  func users() {
    for (principal, name) in [
      ("ann@kea", "ann"), ("ann@moa", "ann"), ("ann@tui", "ann@tui"), ("#77@kea", "#77@kea"),
      ("#77@moa", "#77"), ("nobody@kea", "nobody@kea"),
    ] { #expect(user(principal, isLocal: principal.hasSuffix("moa")) == name) }
    #expect(rules.caller(of: request(nil, isLocal: true)).user == "nobody@-")
  }

  @Test("is root with all of its rights, here or where root is trusted")
  func roots() {
    #expect(user("root@moa", .fullRoot, isLocal: true) == "root")
    #expect(user("root@kea", .fullRoot) == "root")
    #expect(user("root@tui", .fullRoot) == "root@tui")
    // Root of a container, and a client elsewhere that claims to be root here.
    #expect(user("root@moa", isLocal: true) == "root@moa")
    #expect(user("root@kea") == "root@kea" && user("root@kea", .mountMade) == "root@kea")
    #expect(user("root@moa", .fullRoot) == "root@moa")
  }

  @Test("has no more rights by a text that root of the host passes on")
  func named() {
    let told = request(Principal("root@moa", marks: .fullRoot), isLocal: true)
    for (text, name) in [
      ("ann@kea", "ann"), ("ann@tui", "ann@tui"), ("root@moa", "root"), ("root@kea", "root"),
      ("root@tui", "root@tui"), ("#77@kea", "#77@kea"), ("nobody@moa", "nobody"),
      ("nobody", "nobody@-"), ("root", "nobody@-"), ("", "nobody@-"), ("root@", "nobody@-"),
      ("root @moa", "nobody@-"),
    ] {
      let caller = rules.caller(named: text, in: told)
      #expect(caller.user == name && caller.isRoot == (name == "root"), "\(text)")
      #expect(caller.isLocal == (Principal(text)?.host == "moa"), "\(text)")
    }
  }
}
