import Foundation
import Testing

/// Random numbers from a seed.
private struct Chance: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state ^ state >> 29) &* 0xBF58_476D_1CE4_E5B9
  }
}

extension LabTests {
  /// Random kills; `V_KILLS=1000` makes it a long run, `V_SEED` another one.
  @Suite("Random kills", .tags(.mount), .serialized)
  struct SoakTests {
    private static let kills = Int(ProcessInfo.processInfo.environment["V_KILLS"] ?? "") ?? 50
    private static let seed = UInt64(ProcessInfo.processInfo.environment["V_SEED"] ?? "") ?? 1

    /// The state of a client when it is killed.
    private static let clients = [
      "cat /v/pipe/moa/soak", "yes >/v/pipe/moa/soak", "v run --host moa sleep 1000",
      "v run --host kea yes", "v run --host moa --pty cat", "flock /v/storage/moa/lock sleep 1000",
      "cat /v/group/soak/members/me", "v run --detach --host moa sleep 1000",
      "v run --any yes", "cat /v/team/moa/*.sleep/events", "cat /v/ram/moa/*",
      "dd if=/dev/zero of=/v/ram/moa/zeros bs=64k", "cat /v/host/moa/device/zero",
    ]

    /// The remains of clients on a host, as lines; empty if there are none.
    private static let remains = """
      host=$(hostname)
      # Who reads this has two things open: the list itself and its directory.
      grep -v ' host/\\| uio$\\| \\.$' /v/host/$host/uio
      grep -L '^state \\(exited\\|killed\\)' /v/team/$host/*/status 2>/dev/null |
        while read -r file; do grep -qs '^owner ' $file && echo $file; done
      ps -eo comm= | grep -vxE 'bash|sleep|vnode|vkeep|v|ps|grep|timeout'
      # A detached program that has ended is still listed, and its keeper has what it said last.
      known=$(grep -ls '^owner ' /v/team/$host/*/status | wc -l)
      [[ $(ps -eo comm= | grep -cx vkeep) == $known ]] || echo keepers without a program
      [[ $(ps -eo args= | grep -c '^sleep 1000') == 0 ]] || echo sleepers
      find /sys/fs/cgroup -name 'v.*' -newer /run/soak
      [[ $(grep -c ' /v ' /proc/self/mountinfo) == 1 ]] || grep ' /v ' /proc/self/mountinfo
      """

    @Test("leave nothing after 12 s: no instance, process, cgroup or mount")
    func kills() async throws {
      let lab = try await Lab.shared()
      var chance = Chance(state: Self.seed)
      let shells = try Lab.hosts.map { try lab.shell(on: $0) }
      for shell in shells {
        // Objects that are made from here on are newer.
        let marked = try shell.run(
          "touch /run/soak; await 'touch /run/now; [[ /run/now -nt /run/soak ]]'; rm /run/now")
        #expect(marked.status == 0)
      }
      _ = try shells[0].run("mkdir -p /v/group/soak; touch /v/group/soak/members/me")
      _ = try shells[0].run(": >/v/pipe/moa/soak; touch /v/storage/moa/lock")
      let serve = "v serve ram >/dev/null 2>&1 & ram=$!; disown"
      _ = try shells[1].run(serve)
      var pids = Lab.hosts.map { _ in [String]() }
      for _ in 0..<Self.kills {
        let at = Int.random(in: 0..<Lab.hosts.count, using: &chance)
        for _ in 0..<2 {
          let client = Self.clients.randomElement(using: &chance)!
          // timeout(1) makes a process group, with its own number; bash must not report its end.
          let started = try shells[at].run(
            """
            timeout 60 bash -c '\(client)' >/dev/null 2>&1 &
            await "kill -0 -- -$! 2>/dev/null || ! kill -0 $! 2>/dev/null"; echo $!; disown
            """)
          pids[at].append(started.output.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        switch Int.random(in: 0..<10, using: &chance) {
        case 0:
          try await lab.command("kill", [Lab.hosts[at]])
          try await lab.command("start", [Lab.hosts[at]])
        case 1:
          _ = try shells[1].run("kill -9 $ram; \(serve)")
        case 2, 3:
          // A program, by its process number on its host.
          _ = try shells[1].run("kill -9 $(ls /v/team/moa | grep sleep | head -1 | cut -d. -f1)")
        default:
          let victim = pids[at].remove(at: Int.random(in: 0..<pids[at].count, using: &chance))
          _ = try shells[at].run("kill -9 -- -\(victim)")
        }
      }
      for (shell, pids) in zip(shells, pids) {
        let pids = pids.joined(separator: " ")
        _ = try shell.run("for p in \(pids); do kill -9 -- -$p; done")
      }
      _ = try shells[1].run("kill $ram; await '! kill -0 $ram' 2>/dev/null")
      _ = try shells[0].run(
        "for h in kea moa; do v kill -s KILL $(v ps $h | awk 'NR > 1 { print $1 }'); done",
        limit: .seconds(20))
      _ = try shells[0].run("rm /v/group/soak/members/me; rmdir /v/group/soak; rm /v/pipe/moa/soak")
      for (host, shell) in zip(Lab.hosts, shells) {
        let deadline = ContinuousClock.now + .seconds(12)
        var output: String
        repeat {
          output = try shell.run(Self.remains).output
        } while output != "" && ContinuousClock.now < deadline
        #expect(output == "", "\(host), V_SEED=\(Self.seed):\n\(output)")
      }
    }
  }
}
