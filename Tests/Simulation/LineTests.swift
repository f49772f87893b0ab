import Testing
import VObjects
import VProtocol
import VRuntime
import VStore
import VTeamServer

/// What is written into lines for people, with names that others have chosen.
@Suite("Names in lines")
struct LineTests {
  /// Ends a line, begins another one, and clears a terminal.
  private static let bad = "x\nstate killed KILL\r\u{1B}[2J\u{9B}2J\u{7F}"

  private static func hasControls(_ text: String) -> Bool {
    text.unicodeScalars.contains { $0 != "\n" && ($0.value < 0x20 || 0x7F...0x9F ~= $0.value) }
  }

  @Test("a principal has no newline, wherever it comes from")
  func principals() {
    for text in ["ann\nstate@kea", "ann@kea\nstate", "an n@kea", "ann\u{9B}@kea", "ann\r@kea"] {
      #expect(Principal(text) == nil, "\(text.debugDescription)")
    }
    #expect(Principal.user(ofAccount: Self.bad, number: 7) == "#7")
  }

  @Test("a program's status has each line once, whatever its starter, user or directory are called")
  func status() throws {
    let simulator = Simulator(seed: 9)
    let machine = FakeMachine()
    let order = ProgramOrder(
      name: "sort", arguments: [Array("sort".utf8)], directory: Array(Self.bad.utf8),
      user: "ann", starter: Self.bad)
    let program = FakeProgram(machine, 300, order)
    program.directory = Array("/\(Self.bad)".utf8)
    program.note(groups: [Name("job"), Name(Self.bad)])
    machine.programs[300] = program
    let kea = TeamHost("kea", in: simulator, on: machine)
    simulator.run(for: .seconds(12))
    let status = try #require(kea.text("team/kea/300.sort/status"))
    let words = status.split(separator: "\n").map { $0.prefix { $0 != " " } }
    #expect(
      Set(words).isSuperset(of: ["name", "owner", "user", "state", "directory", "asked"]))
    #expect(words.count == Set(words).count, "\(status)")
    #expect(status.contains("\nstate running\n") && !Self.hasControls(status))
    #expect(status.contains("\nowner x?state killed KILL??[2J?2J?\n"), "\(status)")
  }

  @Test("words of a refusal are one line")
  func refusals() {
    var lines = RefusedLines(host: "kea")
    let ann = Principal(user: "ann", host: "kea")
    lines.note(Refusal(.notFound, "no such program: \(Self.bad)"), "new", ann)
    let text = lines.text("new", ann)
    #expect(text.split(separator: "\n").count == 1 && !Self.hasControls(text))
    #expect(text.hasPrefix("refused: no such program: x?state killed KILL"))
  }
}
