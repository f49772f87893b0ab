import Foundation
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

@Suite("Program with a terminal", .needsRoot, .timeLimit(.minutes(1)))
struct TerminalTests {
  private let shop = Workshop()

  private func start(_ command: String, user: String = "root") async throws -> any HostedProgram {
    try await shop.start(command) {
      $0.terminal = TerminalSize(rows: 30, columns: 90)
      $0.isAttached = true
      $0.user = user
    }
  }

  @Test("it has the terminal's size, and is notified of a new one")
  func size() async throws {
    let program = try await start(
      "stty size; trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.01; done")
    #expect(await program.text(until: "up") == "30 90\r\nup\r\n")
    #expect(await program.control(.setSize(TerminalSize(rows: 50, columns: 132))) == nil)
    #expect(program.terminal == TerminalSize(rows: 50, columns: 132))
    #expect(await program.text() == "30 90\r\nup\r\n50 132\r\n")
    #expect(await program.ended() == .exited(0))
    await shop.close(program)
  }

  @Test("a program without one has no size")
  func noTerminal() async throws {
    let program = try await shop.start("sleep 1000")
    let refusal = await program.control(.setSize(TerminalSize(rows: 1, columns: 1)))
    #expect(refusal == Refusal(.badArguments, "it has no terminal"))
    await shop.close(program)
  }

  @Test("^C ends the foreground, ^Z stops it")
  func jobControl() async throws {
    let program = try await start("echo up; exec sleep 1000")
    #expect(await program.text(until: "up") == "up\r\n")
    #expect(await program.write("\u{1A}") == .ok)
    await expect("it is stopped") { program.state == .stopped }
    #expect(await program.control(.kill(signal: SIGCONT)) == nil)
    await expect("it goes on") { program.state == .running }
    #expect(await program.write("\u{3}") == .ok)
    #expect(await program.ended() == .killed(signal: SIGINT))
    await shop.close(program)
  }

  @Test("a shell in it controls its own jobs; signals go to the foreground")
  func shell() async throws {
    let program = try await start("exec bash --norc --noprofile -i", user: "nobody")
    func type(_ line: String, until word: String) async {
      #expect(await program.write(line + "\n") == .ok)
      #expect(await program.text(until: word).contains(word))
    }
    await type("echo ta''lk; tty; ls -l $(tty) | cut -d' ' -f3", until: "nobody")
    await type("(echo fore''ground; exec sleep 1000)", until: "foreground")
    #expect(await program.control(.kill(signal: SIGINT)) == nil)
    await type("echo ba''ck", until: "back")
    #expect(!(await program.text(until: "back")).contains("no job control"))
    program.endInput()
    await type("exit 5", until: "exit")
    #expect(await program.ended() == .exited(5))
    await shop.close(program)
  }

  @Test("all output is there at the end")
  func wholeOutput() async throws {
    let program = try await start("stty -opost; seq 100000; exit 3")
    let expected = (1...100_000).map { "\($0)\n" }.joined()
    #expect(await program.text() == expected)
    #expect(await program.ended() == .exited(3))
    #expect(await program.read(.err, at: 0) == .end)
    await shop.close(program)
  }
}
