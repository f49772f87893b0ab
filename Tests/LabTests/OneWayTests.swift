import Testing

extension LabTests {
  @Suite("One direction of the network is lost", .tags(.mount))
  struct OneWayTests {
    @Test("a host that does not hear this one is down, though it is heard, and status says which")
    func deaf() async throws {
      let lab = try await Lab.shared()
      expectSuccess(
        try await lab.bash(
          on: "moa", "set -e; echo hello >/v/storage/moa/one-way; ls /v/storage/kea"))
      try await lab.command("lose", ["kea", "moa"])
      // moa asks all the while, so kea hears it.
      let asking = Task {
        try await lab.bash(on: "moa", "for i in {1..40}; do ls /v/storage/kea; done; true")
      }
      do {
        let outcome = try await lab.bash(
          on: "kea",
          """
          cat /v/storage/moa/one-way; echo $?
          await 'v status | grep -q "^moa *deaf"'
          v status --json | tr -d ' \\n' | grep -o '"is_deaf":true'
          v status | grep -c '^moa *alive'
          """)
        #expect(outcome.output == "1\n\"is_deaf\":true\n0\n", "\(outcome.summary)")
        #expect(outcome.errors.contains("Host is down"), "\(outcome.summary)")
      } catch {
        try await lab.command("heal", [])
        throw error
      }
      try await lab.command("heal", [])
      _ = try await asking.value
      let after = try await lab.bash(
        on: "kea", "await cat /v/storage/moa/one-way; v status | grep -c '^moa *alive'")
      #expect(after.output.hasSuffix("hello\n1\n"), "\(after.summary)")
    }
  }
}
