import Foundation
import Testing

extension LabTests {
  /// The verbs of `v` that read names of V without a mount.
  @Suite("v query, ls, stat and trace", .tags(.mount))
  struct NamesByVTests {
    private func v(
      _ arguments: String, on host: String = "kea", as user: String = "root"
    ) async throws -> Outcome {
      try await Lab.shared().bash(on: host, as: user, "v " + arguments)
    }

    private func json(_ outcome: Outcome) throws -> [String: Any] {
      let value = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
      let object = try #require(value as? [String: Any], "\(outcome.summary)")
      #expect(object["schema"] as? Int == 1)
      return object
    }

    @Test("ls lists what ls lists on the mount")
    func list() async throws {
      for name in ["", "host", "storage", "storage/moa", "host/moa", "host/self/device"] {
        let mounted = try await Lab.shared().bash(on: "kea", "ls /v/\(name) | LC_ALL=C sort")
        let named = try await v("ls \(name)")
        #expect(named.output == mounted.output && named.isSuccess, "\(name): \(named.summary)")
        let found = try json(try await v("ls --json /v/\(name)"))
        let entries = try #require(found["entries"] as? [[String: String]])
        #expect(
          entries.compactMap { $0["name"] }
            == mounted.output.split(separator: "\n").map(String.init))
      }
      #expect(try await v("ls -l host").output.contains("link     self\n"))
      #expect(try await v("ls storage/moa/hello").output == "hello\n")
    }

    @Test("query shows V's data of a file, a device and a process")
    func query() async throws {
      let lab = try await Lab.shared()
      try "hello\n".write(toFile: lab.disk("moa") + "/hello", atomically: false, encoding: .utf8)
      let file = try json(try await v("query --json storage/moa/hello"))
      #expect(file["kind"] as? String == "file" && file["size"] as? Int == 6)
      #expect(
        (file["attributes"] as? [String])?.contains("STORAGE") == true && file["error"] is NSNull)
      let device = try await v("query /v/host/moa/device/zero")
      #expect(device.output.contains("attributes READABLE WRITEABLE MULTI_BLOCK RANDOM_ACCESS\n"))
      let link = try await v("query storage/self")
      #expect(link.output.contains("kind link\n"), "\(link.summary)")
      let process = try await lab.bash(on: "kea", "v query $(v ls host/moa/proc | head -1)")
      #expect(
        process.output.hasPrefix("entity BE-") && process.output.contains("\nstate "),
        "\(process.summary)")
    }

    @Test("stat counts in a window, stat and trace name their host")
    func statistics() async throws {
      let lab = try await Lab.shared()
      let all = try json(try await v("stat --json"))
      #expect(all["host"] as? String == "kea" && (all["window_ms"] as? Int ?? 0) > 0)
      let reading = try await lab.bash(
        on: "kea",
        "v stat --json --window 1 & "
          + "while kill -0 $!; do [[ -d /v/storage/moa/. ]]; done 2>/dev/null; wait")
      let window = try json(reading)
      #expect((900...3000).contains(window["window_ms"] as? Int ?? 0))
      let counts = try #require(window["counts"] as? [[String: Any]])
      let sent = counts.first { $0["name"] as? String == "requestsSent" }
      #expect((sent?["count"] as? Int ?? 0) >= 50 && sent?["unit"] as? String == "requests")
      #expect(try await v("stat moa").output.hasPrefix("moa: in "))
    }

    @Test("trace shows transactions, after root of the host has switched it on")
    func trace() async throws {
      let lab = try await Lab.shared()
      let denied = try await v("trace --on", as: "ann")
      #expect(denied.status == 1 && denied.errors.contains("permission denied"))
      #expect(try await v("trace --on moa").status == 1)
      let traced = try await lab.bash(
        on: "kea", "v trace --on && cat /v/storage/moa/hello >/dev/null && v trace && v trace --off"
      )
      #expect(traced.isSuccess && traced.output.contains("  CreateInstance  "))
      let kept = try json(try await v("trace --json"))
      let rows = try #require(kept["transactions"] as? [[String: Any]])
      #expect(
        rows.contains { $0["operation"] as? String == "QueryObject" && $0["reply"] as? Int == 0 })
      #expect(kept["host"] as? String == "kea")
    }

    @Test("report errors, with the right exit status")
    func failures() async throws {
      for (arguments, status, why) in [
        ("query storage/moa/nothing", 1, "no such name"), ("ls nothing", 1, "no such name"),
        ("query /etc/passwd", 1, "is no name of V"), ("stat nowhere", 1, "no such name"),
        ("stat a/b", 2, "is not the name of a host"), ("trace --on --off", 2, "exclude each other"),
        ("query", 2, "Missing expected argument"), ("ls --socket /nowhere", 3, "/nowhere"),
      ] as [(String, Int32, String)] {
        let outcome = try await v(arguments)
        #expect(outcome.status == status, "v \(arguments): \(outcome.summary)")
        #expect(outcome.errors.contains(why) && outcome.output.isEmpty, "v \(arguments)")
      }
      let refused = try await v("ls --json nothing")
      #expect((try json(refused)["error"] as? String)?.contains("no such name") == true)
      #expect(refused.status == 1)
      try await Lab.shared().command("pause", ["moa"])
      let late = try await v("ls --timeout 0.3 storage/moa")
      try await Lab.shared().command("resume", ["moa"])
      #expect(late.status == 4 && late.errors.contains("within 0.3 s"), "\(late.summary)")
    }
  }
}
