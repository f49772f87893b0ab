import Foundation
import Testing

extension LabTests {
  /// `v attach`, `v logs` and `v wait` of programs that somebody else started.
  @Suite("Programs that are followed", .tags(.mount), .serialized)
  struct FollowTests {
    enum Trouble: String, CaseIterable { case cable, node }

    @Test(
      "attach, logs and wait outlive an outage, and a restart of the program's node",
      .disabled(if: Lab.isBridged, "the bridge pulls no cables"), arguments: Trouble.allCases)
    func outage(trouble: Trouble) async throws {
      let lab = try await Lab.shared()
      let shell = try lab.shell(on: "kea")
      let instances = "cat /v/host/moa/uio"
      _ = try shell.run(
        """
        mkdir /tmp/follow; cd /tmp/follow
        name=$(v run --host moa --detach sh -c \\
          'rm -f /run/go; mkfifo /run/go; echo one; read -r _ </run/go; echo two; exit 6')
        v logs -f $name >logs 2>logs.said & logs=$!
        v attach $name </dev/null >attach 2>attach.said & attach=$!
        v wait $name >wait 2>wait.said & wait=$!
        await '[[ $(cat logs attach | xargs) == "one one" ]]'
        await '(($(\(instances) | grep -c "${name#moa/}/wait$") == 2))'
        """, limit: .seconds(20))
      try await lab.command(trouble == .cable ? "cut" : "kill", ["moa"])
      let silent = try shell.run(
        "await '(($(cat *.said | grep -c \"moa is silent; waiting\") == 3))'; echo $?",
        limit: .seconds(30))
      #expect(silent.output == "0\n")
      try await lab.command(trouble == .cable ? "join" : "start", ["moa"])
      let outcome = try shell.run(
        """
        await 'v run --host moa sh -c "echo >/run/go" 2>/dev/null'
        for p in $logs $attach $wait; do wait $p; echo $?; done
        cat logs; echo; cat attach; echo; cat wait; grep -c 'moa is back' *.said
        cd /; rm -r /tmp/follow
        """, limit: .seconds(40))
      #expect(
        outcome.output == """
          0
          6
          6
          one
          two

          one
          two

          attach.said:1
          logs.said:1
          wait.said:1

          """)
    }

    @Test("one that is not there is said at once, and so is a host that is down")
    func absent() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea", "v wait moa/1.x; v logs -f moa/1.x; v attach nowhere/1.x; v wait nowhere/1.x")
      #expect(
        outcome.errors == """
          v: wait moa/1.x: no such program
          v: logs moa/1.x: no such program
          v: attach nowhere/1.x: no such program
          v: wait nowhere/1.x: no such program

          """)
    }

    @Test("what a program left behind writes on, after its client has gone, and logs shows it")
    func leftBehind() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        v run --host moa sh -c 'rm -f /run/left; mkfifo /run/left; nohup sh -c "read -r _ </run/left
          echo left; echo fault >&2; exec sleep 3631" 2>&1 & echo said' 2>/dev/null
        name=$(v ps moa | awk '/exited 0, . left/ { print $1 }')
        v logs $name; v run --host moa sh -c 'echo >/run/left'
        await '(($(v logs $name | wc -l) == 3))'; echo; v logs $name; v logs -f $name | tail -1
        v kill $name; await '! v ps moa | grep -q $name'; echo $?
        """, limit: .seconds(30))
      #expect(
        outcome.output == "said\nsaid\n\nsaid\nleft\nfault\nfault\n0\n", "\(outcome.summary)")
    }
  }
}
