import Foundation
import Testing

extension LabTests {
  @Suite("Signals for programs that wait for a silent host", .tags(.mount))
  struct SignalTests {
    /// Runs `script` on kea while moa is stopped: an open of a file of moa then waits for 2 s.
    private func whileStopped(_ script: String) async throws -> Outcome {
      let lab = try await Lab.shared()
      try "hello\n".write(toFile: lab.disk("moa") + "/hello", atomically: false, encoding: .utf8)
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"]))
      try await lab.command("pause", ["moa"])
      let outcome = try await lab.bash(on: "kea", script)
      try await lab.command("resume", ["moa"])
      // It may still be known as silent for a moment.
      let back = try await lab.bash(on: "kea", "await cat /v/storage/moa/hello")
      #expect(back.output.hasPrefix("hello\n"), "\(back.summary)")
      return outcome
    }

    @Test(
      "SIGINT and SIGKILL end a blocked reader long before its host is given up",
      arguments: ["INT", "KILL"])
    func ended(signal: String) async throws {
      let outcome = try await whileStopped(
        """
        start=$(date +%s%N)
        timeout -s \(signal) 0.3 cat /v/storage/moa/hello
        echo "status $? after $((($(date +%s%N) - start) / 1000000)) ms"
        """)
      let words = outcome.output.split { $0 == " " || $0 == "\n" }.map(String.init)
      let after = try #require(words.count > 3 ? Int(words[3]) : nil, "\(outcome.summary)")
      #expect(words[1] == (signal == "INT" ? "124" : "137"), "\(outcome.summary)")
      #expect(after < 1500, "\(outcome.summary)")
    }

    @Test("a blocked reader can be stopped, and goes on or ends with an error afterwards")
    func stopped() async throws {
      let outcome = try await whileStopped(
        """
        cat /v/storage/moa/hello >/tmp/v-signal-$$ 2>&1 &
        await asks $!
        kill -STOP $!
        await 'read -r _ _ state _ </proc/$!/stat; [[ $state == T ]]'
        echo "state $state"
        kill -CONT $!
        wait $!
        echo "status $?"
        rm -f /tmp/v-signal-$$
        """)
      #expect(outcome.output.contains("state T"), "\(outcome.summary)")
      #expect(outcome.output.contains("status"), "\(outcome.summary)")
      #expect(outcome.seconds < 10, "\(outcome.summary)")
    }
  }
}
