import Foundation
import Testing

extension LabTests {
  @Suite("Hosts as v shows them", .tags(.mount))
  struct StatusTests {
    @Test("status shows each host with load, programs and disk, and counters only when asked")
    func hosts() async throws {
      let lab = try await Lab.shared()
      expectSuccess(try await lab.bash(on: "kea", "await v ping -c 1 moa"))
      let plain = try await lab.run(on: "kea", ["v", "status"])
      let rows = plain.output.split(separator: "\n")
      for (host, state) in [("kea", "here, up "), ("moa", "alive ")] {
        let row = rows.first { $0.hasPrefix("\(host) ") && $0.contains(state) }
        let isFull = row?.contains(#/[0-9]\.[0-9]{2} +[0-9]+ +[0-9.]+ .?B of [0-9.]+ .?B/#)
        #expect(isFull == true, "\(plain.summary)")
      }
      #expect(!plain.output.contains("multicastsSent") && !plain.output.contains("\u{1B}"))
      let verbose = try await lab.run(on: "kea", ["v", "status", "--verbose"])
      #expect(verbose.output.contains("multicastsSent "), "\(verbose.summary)")
      #expect(verbose.output.contains("  KERNEL\n"), "\(verbose.summary)")
    }

    @Test("a terminal has colours, unless the user does not want any")
    func colors() async throws {
      let lab = try await Lab.shared()
      for (setting, isColored) in [("-u NO_COLOR", true), ("NO_COLOR=1", false)] {
        let outcome = try await lab.bash(
          on: "kea", "env \(setting) TERM=xterm script -qec 'v status' /dev/null </dev/null")
        #expect(outcome.isSuccess && outcome.output.contains("alive"), "\(outcome.summary)")
        #expect(outcome.output.contains("\u{1B}[32m") == isColored, "\(outcome.summary)")
      }
    }

    @Test("a host that is gone is forgotten by root, and listed again when it is back")
    func forget() async throws {
      let lab = try await Lab.shared()
      let present = try await lab.run(on: "kea", ["v", "forget", "moa"])
      #expect(present.status == 1 && present.errors.contains("it answers"), "\(present.summary)")
      try await lab.command("kill", ["moa"])
      let user = try await lab.run(on: "kea", as: "ann", ["v", "forget", "moa"])
      #expect(user.status == 1 && user.errors.contains("only root"), "\(user.summary)")
      let outcome = try await lab.bash(
        on: "kea",
        """
        v forget tui >/dev/null 2>&1
        ls /v/storage/moa/hello && exit 1
        v forget moa && ls /v/storage /v/team /v/host && v run --each hostname &&
        v status && ! ls /v/storage/moa
        """, limit: .seconds(20))
      #expect(outcome.isSuccess, "\(outcome.summary)")
      #expect(!outcome.output.contains("\nmoa"), "\(outcome.summary)")
      #expect(outcome.errors.contains("No such file or directory"), "\(outcome.summary)")
      try await lab.command("start", ["moa"])
      expectSuccess(
        try await lab.bash(
          on: "kea", "await '[[ $(v ls storage) == *moa* ]]' && await cat /v/storage/moa/hello"))
    }

    @Test("doctor tells a user which checks only root can make, and not that something is missing")
    func doctorOfUser() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "moa", as: "ann", "v doctor", limit: .seconds(20))
      #expect(outcome.output.contains("may not be checked by this user"), "\(outcome.summary)")
      #expect(!outcome.output.contains("fail  cluster key"), "\(outcome.summary)")
      #expect(!outcome.output.contains("/dev/urandom"), "\(outcome.summary)")
    }

    @Test("trace follows ending transactions, with names of servers and operations")
    func trace() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        v trace --on; v trace -f >/tmp-trace & pid=$!
        await 'ls /v/storage/moa >/dev/null; grep -q "storage/moa.*CreateInstance" /tmp-trace'
        s=$?; kill $pid; v trace --off; cat /tmp-trace; exit $s
        """, limit: .seconds(30))
      #expect(outcome.isSuccess, "\(outcome.summary)")
      let unnamed = outcome.output.matches(of: #/ 00[0-9a-f]{4} /#).count
      #expect(unnamed == 0, "\(outcome.summary)")
    }
  }
}
