import Foundation
import Testing

extension LabTests {
  @Suite("A lab of many hosts", .tags(.mount))
  struct ManyNodesTests {
    /// V_HOSTS=40 is what a machine of two processors is to bear; the usual run has fewer.
    private static let count =
      ProcessInfo.processInfo.environment["V_HOSTS"].flatMap { Int($0) } ?? 6

    @Test("comes up with one command, and every host lists all of them and reads from any")
    func listed() async throws {
      // A lab of its own: the names of these hosts would stay known in the shared one.
      let count = Self.count
      let outcome = try await Program.run(
        [
          "env", "V_LAB=check-\(getpid())-many", "lab=\(Lab.root)/Tests/lab", "count=\(count)",
          "bash", "-euc",
          Lab.functions
            + #"""
            trap '"$lab" down' EXIT
            "$lab" up --bridge $(seq -f n%g "$count") >&2
            on() { local host=$1; shift; timeout 20 "$lab" run "$host" -- "$@"; }
            lists() { (($(on "$1" ls /v/storage | grep -cx 'n[0-9]*') == count)); }
            for ((n = 1; n <= count; n++)); do
              await lists n$n && echo n$n lists all
            done
            # Around the ring, by names that were heard from others.
            for ((n = 1; n <= count; n++)); do on n$n cat /v/storage/n$((n % count + 1))/hello; done
            on n1 grep '^claims\|^left_out' /v/.v/naming >&2
            """#,
        ], limit: .seconds(60 + 15 * count))
      let all = (1...count).map { "n\($0) lists all\n" }.joined()
      let ring = (1...count).map { "hello from n\($0 % count + 1)\n" }.joined()
      #expect(outcome.output == all + ring, "\(outcome.summary)")
      #expect(outcome.isSuccess && outcome.errors.contains("claims "), "\(outcome.summary)")
      #expect(!outcome.errors.contains("left_out"), "\(outcome.errors)")
    }
  }
}
