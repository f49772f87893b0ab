import Foundation
import Testing

extension LabTests {
  @Suite("The command v", .tags(.mount))
  struct CommandTests {
    private func json(_ outcome: Outcome) throws -> [String: Any] {
      let value = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
      return try #require(value as? [String: Any], "\(outcome.summary)")
    }

    @Test("reports at once that the node is dead, and how to start it")
    func dead() async throws {
      let lab = try await Lab.shared()
      try await lab.command("kill", ["moa"])
      for verb in [["status"], ["ping", "kea"]] {
        let outcome = try await lab.bash(
          on: "moa",
          "a=${EPOCHREALTIME/./}; v \(verb.joined(separator: " ")); s=$?"
            + "; echo $((${EPOCHREALTIME/./} - a)); exit $s")
        #expect(outcome.status == 3, "\(outcome.summary)")
        #expect(outcome.errors.contains("to start it: "), "\(outcome.errors)")
        let microseconds = try #require(Int(outcome.output.split(separator: "\n").last ?? ""))
        #expect(microseconds < 100_000)
      }
      try await lab.command("start", ["moa"])
    }

    @Test("what others named gives no command to a terminal")
    func escapes() async throws {
      let outcome = try await Lab.shared().bash(
        on: "kea",
        """
        name=$'a\\e]0;b\\a\\xc2\\x9b31m'; cd "$(mktemp -d -p /srv/storage escapes.XXXX)"; : >"$name"
        at=storage/kea/${PWD##*/}
        script -qc "v ls $at; v query '$at/$name'; v query '$at/$name/b'" /dev/null </dev/null
        v ls $at; rm -r "$PWD"
        """)
      // Swift takes the two at the end of a terminal's line for one letter.
      let lines = outcome.output.replacingOccurrences(of: "\r", with: "").split(separator: "\n")
      #expect(lines.first == "a?]0;b??31m" && lines.last == "a\u{1B}]0;b\u{7}\u{9B}31m")
      let shown = lines.dropLast().joined().unicodeScalars
      #expect(!shown.contains { $0.value < 0x20 || $0.value == 0x9B }, "\(outcome.summary)")
      #expect(lines.dropLast().contains { $0.contains("not a directory") }, "\(outcome.summary)")
    }

    @Test("reports a node that hangs, at the time limit")
    func hung() async throws {
      let lab = try await Lab.shared()
      try await lab.command("pause", ["moa"])
      let outcome = try await lab.run(on: "moa", ["v", "status", "--timeout", "0.3"])
      try await lab.command("resume", ["moa"])
      #expect(
        outcome.status == 4 && outcome.errors.contains("does not answer"), "\(outcome.summary)")
    }

    @Test("pings from the node and from its own process, and prints refusals in JSON too")
    func ping() async throws {
      let lab = try await Lab.shared()
      let target = ["-c", "20", "kea", "--json"]
      for from in [[], ["--attached"]] {
        let outcome = try await lab.run(on: "moa", ["v", "ping"] + target + from)
        let found = try json(outcome)
        #expect(found["lost"] as? Int == 0 && found["error"] is NSNull, "\(outcome.summary)")
        #expect(found["from"] as? String == (from.isEmpty ? "node" : "process"))
        #expect((found["min_us"] as? Double ?? 0) > 0)
        let nowhere = try await lab.run(on: "moa", ["v", "ping", "--json", "tui"] + from)
        #expect(nowhere.status == 1)
        #expect((try json(nowhere)["error"] as? String)?.contains("no node of that name") == true)
      }
    }

    @Test("has an example of each verb, refuses unknown ones and suggests the right one")
    func help() async throws {
      let lab = try await Lab.shared()
      let verbs = try await Self.verbs(lab)
      #expect(Set(verbs).isSuperset(of: ["status", "ping"]), "\(verbs)")
      for verb in verbs where verb != "help" {
        let help = try await lab.run(on: "kea", ["v", verb, "--help"])
        #expect(help.isSuccess && help.output.contains("Example: v \(verb)"), "\(help.summary)")
        // Those have verbs of their own.
        guard !["bench", "group"].contains(verb) else { continue }
        #expect(help.output.contains("--timeout"), "\(verb)")
        // These print a program's output, or nothing.
        guard !["run", "shell", "kill", "wait", "attach", "logs"].contains(verb) else { continue }
        #expect(help.output.contains("--json"), "\(verb)")
      }
      let wrong = try await lab.run(on: "kea", ["v", "sttaus"])
      #expect(wrong.status == 2 && wrong.errors.contains("is it v status?"), "\(wrong.summary)")
      let option = try await lab.run(on: "kea", ["v", "status", "--nothing"])
      #expect(option.status == 2 && option.output.isEmpty, "\(option.summary)")
    }

    /// The verbs that `v --help` lists.
    static func verbs(_ lab: Lab) async throws -> [String] {
      let help = try await lab.run(on: "kea", ["v", "--help"])
      let list =
        help.output.components(separatedBy: "SUBCOMMANDS:\n").last?
        .components(separatedBy: "\n\n").first ?? ""
      return list.split(separator: "\n").compactMap { line in
        guard line.hasPrefix("  "), !line.hasPrefix("   ") else { return nil }
        return line.split(separator: " ").first.map(String.init)
      }
    }
  }
}
