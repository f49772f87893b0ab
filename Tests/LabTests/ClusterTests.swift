import Foundation
import Testing

extension LabTests {
  @Suite("Two clusters on one network", .tags(.mount))
  struct ClusterTests {
    @Test("each lists, serves and blames only its own hosts")
    func apart() async throws {
      // A lab of its own: the names of these hosts would stay known in the shared one.
      let name = "check-\(getpid())-two"
      let outcome = try await Program.run(
        [
          "env", "V_LAB=\(name)", "lab=\(Lab.root)/Tests/lab", "bash", "-euc",
          Lab.functions
            + #"""
            trap '"$lab" down' EXIT
            "$lab" up red1 red2 >&2
            # Hosts of this lab that are made from now on have another key.
            tr 0-9 1-90 <"/run/vlab-$V_LAB/cluster.key" >"/run/vlab-$V_LAB/other.key"
            mv "/run/vlab-$V_LAB/other.key" "/run/vlab-$V_LAB/cluster.key"
            "$lab" up blue1 blue2 >&2
            on() { local host=$1; shift; timeout 20 "$lab" run "$host" -- "$@"; }
            lists() { [[ $(on $1 ls /v/storage | grep -v 'any\|self' | tr '\n' ' ') == "$2" ]]; }
            await "lists red1 'red1 red2 '"
            await "lists blue1 'blue1 blue2 '"
            echo red >"/var/lib/vlab-$V_LAB/red2/storage/colour"
            echo blue >"/var/lib/vlab-$V_LAB/blue2/storage/colour"
            on red1 cat /v/storage/red2/colour
            on blue1 cat /v/storage/blue2/colour
            # Packets of the other cluster are nobody's trouble.
            on red1 v status --json | python3 -c '
            import json, sys
            status = json.load(sys.stdin)
            assert status["troubles"] == [], status["troubles"]
            assert {peer["host"] for peer in status["peers"]} <= {"red2"}, status["peers"]
            print("well")'
            """#,
        ], limit: .seconds(120))
      #expect(outcome.output == "red\nblue\nwell\n", "\(outcome.summary)")
    }
  }
}
