import Foundation
import Testing

extension LabTests {
  /// However a host falls silent, its users get an error, and nobody else notices.
  @Suite(
    "A host that falls silent", .tags(.mount),
    .enabled(if: !Lab.isBridged, "a bridge has no delay: the copies would be over too soon"))
  struct DeadHostTests {
    /// How it falls silent, and how it comes back.
    static let ways = [("kill", "start"), ("pause", "resume"), ("cut", "join")]

    @Test("its files fail, all else works, and it comes back without a remount", arguments: ways)
    func silence(down: String, up: String) async throws {
      let lab = try await Lab.shared()
      try await prepare(lab)
      let mount = try await lab.run(on: "kea", ["grep", " /v ", "/proc/self/mountinfo"])
      try await lab.command("fault", ["moa", "delay", "5"])
      async let upward = lab.run(on: "kea", Self.copyUp, limit: .seconds(60))
      async let downward = lab.run(on: "kea", Self.copyDown, limit: .seconds(60))
      try await waitForCopies(lab)
      try await lab.command(down, ["moa"])

      let answers = try await lab.bash(on: "kea", Self.elsewhere, limit: .seconds(30))
      #expect(answers.output.split(separator: "\n").count == 7, "\(answers.summary)")
      for line in answers.output.split(separator: "\n") {
        // STATUS MILLISECONDS COMMAND
        let words = line.split(separator: " ", maxSplits: 2)
        #expect(words.first == "0", "\(line)")
        #expect(words.count == 3 && Int(words[1]).map { $0 < 2000 } == true, "\(line)")
      }
      for host in down == "cut" ? ["kea", "moa"] : ["kea"] {
        // On a host whose own node runs.
        let readers = try await lab.bash(on: host, Self.killReaders(on: host))
        #expect(readers.output == "all dead\n", "\(host): \(readers.summary)")
      }
      for copy in [try await upward, try await downward] {
        #expect(copy.status == 1 && copy.errors.contains("Host is down"), "\(copy.summary)")
        #expect(copy.seconds < 30, "\(copy.summary)")
      }
      let read = try await lab.run(on: "kea", ["cat", "/v/storage/moa/silence/small"])
      #expect(read.errors.contains("Host is down") && read.seconds < 10, "\(read.summary)")
      try await walk(lab)

      try await lab.command(up, ["moa"])
      try await lab.command("fault", ["moa", "off"])
      try await waitForReturn(lab)
      let again = try await lab.bash(
        on: "kea",
        """
        cd /v/storage/moa/silence &&
        cp /srv/storage/silence/big up && cmp up /srv/storage/silence/big && rm up && mkdir new &&
        grep ' /v ' /proc/self/mountinfo
        """, limit: .seconds(30))
      #expect(again.output.hasSuffix(mount.output), "\(again.summary)")
      expectSuccess(again)
    }

    /// Tools that read everything, while a host is silent.
    private func walk(_ lab: Lab) async throws {
      for tool in ["find /v", "grep -rs nothing-has-this /v/storage/moa /v/.v", "du -s /v"] {
        let outcome = try await lab.run(
          on: "kea", ["timeout", "20"] + tool.split(separator: " ").map(String.init),
          limit: .seconds(30))
        #expect(outcome.seconds < 22 && outcome.status != nil, "\(tool): \(outcome.summary)")
      }
      let names = try await lab.bash(
        on: "kea", "compgen -f /v/; compgen -f /v/storage/m; compgen -f /v/storage/moa/")
      #expect(names.output.hasSuffix("/v/storage/moa\n"), "\(names.summary)")
      #expect(names.output.contains("/v/storage\n") && names.seconds < 2, "\(names.summary)")
    }

    @Test("the system's own names cannot be removed")
    func removal() async throws {
      let lab = try await Lab.shared()
      let list =
        "ls -A /v/.v /v/host; find /v/.v /v/host -path '*/proc/*' -prune -o -print | sort"
      let before = try await lab.bash(on: "kea", list)
      let removal = try await lab.bash(on: "kea", "rm -rf /v/host /v/.v")
      #expect(removal.status == 1, "\(removal.summary)")
      let after = try await lab.bash(on: "kea", list)
      #expect(
        after.output == before.output && after.output.contains("version"),
        "before: \(before.summary)\nafter: \(after.summary)")
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/.v/version"]))
    }

    /// Files that take a while to copy, the same on both hosts.
    private func prepare(_ lab: Lab) async throws {
      for host in Lab.hosts {
        expectSuccess(
          try await lab.bash(
            on: host,
            """
            rm -rf /srv/storage/silence
            mkdir /srv/storage/silence && cd /srv/storage/silence
            seq 10000000 >big; echo here >small
            """, limit: .seconds(20)))
      }
    }

    private static let copyUp = ["cp", "/srv/storage/silence/big", "/v/storage/moa/silence/up"]
    private static let copyDown = ["cp", "/v/storage/moa/silence/big", "/srv/storage/silence/down"]

    /// Until both copies have begun.
    private func waitForCopies(_ lab: Lab) async throws {
      let begun = try await lab.bash(
        on: "kea",
        """
        cd /v/storage
        await '[[ -s kea/silence/down && -s moa/silence/up ]]'
        """, limit: .seconds(20))
      expectSuccess(begun)
    }

    /// Commands that do not need the silent host, each with its status and time.
    private static let elsewhere = """
      for command in 'ls /v' 'ls /v/storage' 'df /v' df 'stat /v/storage/kea/silence/small' \\
        'cat /v/storage/kea/silence/small' 'compgen -f /v/storage/'
      do
        start=${EPOCHREALTIME/./}
        $command >/dev/null
        echo "$? $(((${EPOCHREALTIME/./} - start) / 1000)) $command"
      done
      """

    /// Readers that wait for the silent host end at once when they are killed.
    private static func killReaders(on host: String) -> String {
      let other = host == "kea" ? "moa" : "kea"
      return """
        for i in {1..8}; do
          (exec cat /v/storage/\(other)/silence/small) >/dev/null 2>&1 & pids+=($!)
        done
        # Who asks once that host is known to be silent has its answer at once.
        for pid in ${pids[@]}; do await "asks $pid || ! kill -0 $pid" 2>/dev/null; done
        kill -9 ${pids[@]} 2>/dev/null
        start=$SECONDS; await '! kill -0 ${pids[@]}' 2>/dev/null
        ((SECONDS - start <= 3)) && echo all dead
        """
    }

    private func waitForReturn(_ lab: Lab) async throws {
      let back = try await lab.bash(
        on: "kea",
        "await cat /v/storage/moa/silence/small", limit: .seconds(20))
      #expect(back.output == "here\n", "\(back.summary)")
    }
  }
}
