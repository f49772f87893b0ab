import Foundation
import Glibc
import Testing

/// A test that cannot fail proves nothing: here the lab's tools meet the faults that they look for.
@Suite("Tools of the lab's tests")
struct ToolingTests {
  @Test("a program is stopped at its limit, with its children")
  func limit() async throws {
    let outcome = try await Program.run(
      ["bash", "-c", "sleep 987 & echo $!; wait"], limit: .milliseconds(300))
    #expect(outcome.status == nil)
    let child = try #require(pid_t(outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)))
    #expect(try await comes { isDead(child) })
  }

  @Test("an outcome has a program's end and its output")
  func outcome() async throws {
    let failed = try await Program.run(
      ["sh", "-c", "echo out; echo err >&2; exit 3"], limit: .seconds(10))
    #expect(failed.status == 3 && failed.output == "out\n" && failed.errors == "err\n")
    #expect(try await Program.run(["sh", "-c", "kill -9 $$"], limit: .seconds(10)).status == 137)
    await #expect(throws: Program.Failure.self) {
      try await Program.run(["there-is-no-such-program"], limit: .seconds(1))
    }
  }

  @Test("a shell keeps its state, returns each status, and has a time limit")
  func shell() throws {
    let shell = try Shell("here", ["bash", "--norc"])
    #expect(try shell.run("cd /usr; value=5").status == 0)
    #expect(try shell.run("pwd; echo $value; printf x; false") == (1, "/usr\n5\nx"))
    #expect(throws: Program.Failure.self) { try shell.run("sleep 987", limit: .milliseconds(200)) }
  }

  @Test("the matrix names the first difference of an effect")
  func differences() {
    let control = Matrix.Effect(output: ["a"], files: ["x 1", "y 2"], filesElsewhere: ["."])
    #expect(Matrix.firstDifference(control, control) == nil)
    var found = control
    found.files = ["x 1", "y 3", "z"]
    #expect(
      Matrix.firstDifference(control, found) == """
        a file differs (the first of 3 such lines):
          expected y 2
          found    y 3
        """)
    found.files = ["x 1"]
    #expect(Matrix.firstDifference(control, found)?.hasSuffix("found    nothing") == true)
    found = control
    found.filesElsewhere = []
    #expect(Matrix.firstDifference(control, found)?.hasPrefix("a file elsewhere") == true)
    found = control
    found.output = ["b"]
    #expect(Matrix.firstDifference(control, found)?.hasPrefix("what it printed") == true)
  }

  @Test(
    "the lister sees every kind of change",
    arguments: [
      "chmod 640 file", "touch -d @999999999.5 file", "echo x >file", "ln file more", "rm file",
      "mv file other", "ln -sf elsewhere link", "chmod 1755 folder", "rm fifo; touch fifo",
      "cp --remove-destination -p file hard", "touch -d tomorrow file",
    ])
  func lister(change: String) async throws {
    let folder = NSTemporaryDirectory() + "v-lister-\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func list() async throws -> String {
      let outcome = try await Program.run(
        ["python3", Lab.tools + "/list.py", folder], limit: .seconds(20))
      expectSuccess(outcome)
      return outcome.output
    }
    func make(_ script: String) async throws {
      let outcome = try await Program.run(
        ["bash", "-ec", "cd '\(folder)'; \(script)"], limit: .seconds(20))
      expectSuccess(outcome)
    }
    try await make(
      """
      echo a >file; touch -d @1000000000.25 file; ln file hard; mkdir folder; mkfifo fifo
      ln -s file link
      """)
    let before = try await list()
    #expect(try await list() == before)
    try await make(change)
    #expect(try await list() != before)
  }

  private func isDead(_ pid: pid_t) -> Bool {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else {
      return true
    }
    return stat.split(separator: ")").last?.hasPrefix(" Z") == true
  }
}
