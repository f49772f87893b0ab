import Foundation
import Testing

extension LabTests {
  /// Random kills; `V_KILLS=1000` makes it a long run, `V_SEED` another one.
  @Suite("Whatever is killed", .tags(.mount), .serialized)
  struct RandomKillTests {
    private static let kills = Int(ProcessInfo.processInfo.environment["V_KILLS"] ?? "") ?? 25
    private static let seed = UInt64(ProcessInfo.processInfo.environment["V_SEED"] ?? "") ?? 1
    /// After so many it is looked whether all is gone.
    private static let round = 25

    @Test("nothing is left of it: no instance, process, cgroup, lock, entity or file")
    func kills() async throws {
      let storm = try await KillStorm(seed: Self.seed)
      defer { storm.end() }
      for first in stride(from: 0, to: Self.kills, by: Self.round) {
        try await storm.kill(min(Self.round, Self.kills - first))
        let left = try storm.remains()
        try #require(
          left == "",
          "V_SEED=\(Self.seed), kill \(first + 1) and on:\n\(left)\n\(storm.log)")
      }
    }
  }
}

/// Clients and servers on both hosts of a lab, of which one after another is killed.
private final class KillStorm {
  private let lab: Lab
  private let shells: [Shell]
  private var chance: Chance
  /// Process groups of clients on each host.
  private var groups = Lab.hosts.map { _ in [String]() }
  private var events: [String] = []

  var log: String { events.joined(separator: "\n") }

  init(seed: UInt64) async throws {
    let lab = try await Lab.shared()
    self.lab = lab
    chance = Chance(state: seed)
    shells = try Lab.hosts.map { try lab.shell(on: $0) }
    for shell in shells { _ = try shell.run(Self.functions + Self.marks) }
    _ = try shells[1].run("head -c 20000000 /dev/zero >$here/big; : >$here/lock")
  }

  /// Starts clients and kills something, so often; then ends all that was started.
  func kill(_ count: Int) async throws {
    events = []
    _ = try shells[0].run(
      "mkdir -p /v/group/kills; touch /v/group/kills/members/me; : >/v/pipe/moa/kills")
    _ = try shells[1].run("serve")
    for _ in 0..<count {
      let at = Int.random(in: 0..<Lab.hosts.count, using: &chance)
      for _ in 0..<2 { try start(Self.clients.randomElement(using: &chance)!, at) }
      // Kills come at any moment of what they hit.
      try await Task.sleep(for: .milliseconds(Int.random(in: 0..<300, using: &chance)))
      try await kill(Victim.all.randomElement(using: &chance)!, at)
    }
    try sweep()
  }

  private func start(_ client: String, _ at: Int) throws {
    // timeout(1) makes a process group, with its own number; bash must not tell of its end.
    let started = try shells[at].run(
      """
      timeout -k 1 100 bash -c '\(client)' >/dev/null 2>&1 &
      await "kill -0 -- -$! 2>/dev/null || ! kill -0 $! 2>/dev/null"; echo $!; disown
      """)
    let group = started.output.trimmingCharacters(in: .whitespacesAndNewlines)
    groups[at].append(group)
    events.append("\(Lab.hosts[at]) \(group): \(client)")
  }

  private func kill(_ victim: Victim, _ at: Int) async throws {
    let signal = Self.signals.randomElement(using: &chance)!
    let number = Int.random(in: 0..<1000, using: &chance)
    events.append("\(Lab.hosts[at]) \(signal) \(victim) \(number)")
    switch victim {
    case .node where signal == "KILL":
      try await lab.command("kill", [Lab.hosts[at]])
      try await lab.command("start", [Lab.hosts[at]])
    case .node:
      _ = try shells[at].run("n=$(pgrep -x vnode); kill -\(signal) $n")
      // That is to read its configuration anew.
      if signal == "HUP" { return }
      _ = try shells[at].run("await '! kill -0 $n' 2>/dev/null")
      try await lab.command("start", [Lab.hosts[at]])
    case .client:
      let group = groups[at].remove(at: number % groups[at].count)
      _ = try shells[at].run("kill -\(signal) -- -\(group)")
    case .serve:
      _ = try shells[1].run(
        "kill -\(signal) $ram; await '! kill -0 $ram' 2>/dev/null || kill -9 $ram; serve")
    case .server: _ = try shells[1].run("kill -\(signal) $(pgrep -P $ram)")
    case .command, .keeper, .supervisor:
      _ = try shells[at].run("kill -\(signal) $(nth \(number) $(pgrep -x \(victim.rawValue)))")
    case .program, .programGroup:
      let target = victim == .program ? "$n" : "-- -$n"
      _ = try shells[at].run(
        "n=$(nth \(number) $(v ps --quiet $host)); n=${n#*/}; n=${n%%.*}; "
          + "[[ ! $n ]] || kill -\(signal) \(target)")
    }
  }

  /// Ends all that is known to run, and takes away what was made.
  private func sweep() throws {
    for (shell, groups) in zip(shells, groups) {
      _ = try shell.run("for p in \(groups.joined(separator: " ")); do kill -9 -- -$p; done")
    }
    groups = groups.map { _ in [] }
    _ = try shells[1].run("kill $ram; await '! kill -0 $ram' 2>/dev/null")
    _ = try shells[0].run(
      """
      p=$(v ps --quiet kea moa); [[ ! $p ]] || v kill -s KILL $p
      rm -f /v/group/kills/members/me /v/pipe/moa/kills /v/storage/*/kills/{copy,zeros}.*
      rmdir /v/group/kills
      """, limit: .seconds(30))
  }

  /// What is still there after a time that is enough for all of it to go.
  func remains() throws -> String {
    var left: [String] = []
    for (host, shell) in zip(Lab.hosts, shells) {
      let deadline = ContinuousClock.now + .seconds(40)
      var output: String
      repeat {
        output = try shell.run(Self.remains, limit: .seconds(30)).output
      } while output != "" && ContinuousClock.now < deadline
      if output != "" { left.append("\(host):\n\(output)") }
    }
    return left.joined(separator: "\n")
  }

  func end() {
    _ = try? sweep()
    _ = try? shells[0].run("rm -rf /v/storage/*/kills; v forget ram/moa")
  }
}

/// What is killed.
private enum Victim: String {
  case node, serve, server, client, program, programGroup
  case command = "v"
  case keeper = "vkeep"
  case supervisor = "v-init"

  /// Each as often as its weight says.
  static let all: [Victim] =
    [.node, .serve, .server, .keeper, .supervisor, .program, .program, .programGroup]
    + Array(repeating: .command, count: 4) + Array(repeating: .client, count: 8)
}

/// Numbers that follow from a seed.
private struct Chance: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state ^ state >> 29) &* 0xBF58_476D_1CE4_E5B9
  }
}

// MARK: - Scripts

extension KillStorm {
  fileprivate static let signals = Array(repeating: "KILL", count: 5) + ["INT", "TERM", "HUP"]

  /// What a client does when it is killed.
  fileprivate static let clients = [
    "cat /v/pipe/moa/kills", "yes >/v/pipe/moa/kills", "sort /v/pipe/moa/kills | head -1",
    "cp /v/storage/moa/kills/big /v/storage/kea/kills/copy.$$",
    "dd if=/dev/zero of=/v/storage/moa/kills/zeros.$$ bs=64k count=2000",
    "tail -f /v/storage/moa/kills/big", "cd /v/storage/moa/kills; exec sleep 1000",
    "flock /v/storage/moa/kills/lock sleep 1000", "flock /v/storage/moa/kills/lock true",
    "cat /v/storage/moa/kills/big | v run --wait 2 --host moa sha256sum",
    "yes | v run --wait 2 --host moa cat", "v run --wait 2 --host moa sleep 1000 | cat",
    "v run --wait 2 --host kea sh -c \"yes & yes\"", "v run --wait 2 --host moa --pty cat",
    "v run --wait 2 --each sleep 1000", "v run --wait 2 --any yes",
    "v run --detach --host moa sh -c \"sleep 1000 & setsid sleep 1000 & sleep 1000\"",
    "v attach $(v run --detach --host moa yes)", "v logs -f $(v run --detach --host moa yes)",
    "v wait $(v run --detach --host kea sleep 1000)", "sleep 1000 | v shell --wait 2 moa",
    "script -qc \"v shell --wait 2 moa\" /dev/null < <(sleep 1000)",
    "exec 3<>/v/team/moa/new; echo \"sleep 1000\" >&3; read n <&3; cat /v/team/moa/$n/out",
    "v run --detach --group kills --host moa sleep 1000; v group suspend kills",
    "cat /v/group/kills/members/me", "cat /v/team/moa/*.sleep/events", "v ps; v status",
    "cat /v/ram/moa/*", "dd if=/dev/zero of=/v/ram/moa/zeros bs=64k",
    "cat /v/host/moa/device/zero",
  ]

  /// `nth NUMBER WORD...` prints one of the words; `serve` starts a server that is no part of the
  /// node; `now` says what is not to change.
  fileprivate static let functions = """
    host=$(hostname) here=/srv/storage/kills
    nth() { local n=$1; shift; (($#)) && echo ${@:1 + n % $#:1}; }
    serve() { v serve --prefix ram/moa -- v serve ram >/dev/null 2>&1 & ram=$!; disown; }
    known() { grep -ls '^owner ' /v/team/$host/*/status | wc -l; }
    now() { ls -A /run /run/v; grep ' /v ' /proc/self/mountinfo | cut -d' ' -f5,9
      echo servers $(($(cat /v/host/$host/proc/* | grep -c '^kind server') - $(known))); }

    """

  fileprivate static let marks = """
    mkdir -p $here; chmod 1777 $here; touch /run/kills; before=$(now)
    """

  /// What is still there of it all on a host, as lines; nothing if nothing is.
  fileprivate static let remains = """
    # Who reads this has two things open: the list itself and its directory.
    grep -v ' host/\\| uio$\\| \\.$' /v/host/$host/uio
    v ps --quiet $host; grep -ls '^attached yes' /v/team/$host/*/status
    ps -eo stat=,comm=,args= | grep -vE '^[^ ]+ +(bash|vnode|vkeep|ps|grep|timeout) ' |
      grep -v 'sleep 86400'
    # A detached program that has ended is still listed, and its keeper has what it said last.
    (($(pgrep -xc vkeep) <= $(known))) || echo more keepers than programs
    diff <(pgrep -x vkeep | sort) <(ls /run/v/team | sort)
    find /sys/fs/cgroup -maxdepth 2 -name "v.$(readlink /proc/self/ns/pid | tr -dc 0-9).*"
    # Who reads that waits itself.
    (($(cat /v/host/$host/proc/* | grep -c '^state awaiting') <= 1)) || echo clients wait
    v status --json | grep -q '"attached": *1\\b' || echo others are attached
    diff <(echo "$before") <(now)
    find /tmp -maxdepth 1 -newer /run/kills -name 'tmpf*'
    timeout 5 ls /v/storage/kea /v/storage/moa >/dev/null || echo /v does not answer
    timeout 5 flock -n /v/storage/moa/kills/lock true || echo a lock is held
    """
}
