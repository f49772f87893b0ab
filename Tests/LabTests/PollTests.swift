import Foundation
import Testing

extension LabTests {
  /// Whether poll(2), select(2) and epoll(7) say what a read or a write would find.
  @Suite("Readiness of streams", .tags(.mount), .serialized)
  struct PollTests {
    private func bash(
      _ script: String, as user: String = "root", limit: Duration = .seconds(40)
    ) async throws -> Outcome {
      try await Lab.shared().bash(on: "kea", as: user, script, limit: limit)
    }

    private static let tool = "python3 /v/storage/kea/tools/poll.py"

    @Test("a pipe is ready when there is a block, room or an end", arguments: Lab.hosts)
    func pipe(host: String) async throws {
      let outcome = try await bash(
        "p=/v/pipe/\(host)/poll; : >$p; \(Self.tool) pipe $p; rm $p", as: "ann")
      #expect(
        outcome.output == """
          no writer yet -
          empty - OUT
          a while later -
          still waiting 2
          woken ['IN', 'select']
          read b'hello' -
          full 65536 -
          still waiting True
          room OUT
          writers gone HUP b''
          a new one -
          readers gone ERR
          both OUT
          both IN+OUT

          """, "\(outcome.summary)")
      #expect(outcome.errors == "")
    }

    @Test("an edge of epoll comes for each block", arguments: Lab.hosts)
    func edges(host: String) async throws {
      let outcome = try await bash(
        "p=/v/pipe/\(host)/edges; : >$p; \(Self.tool) edges $p; rm $p", as: "ann")
      #expect(outcome.output == "one\ntwo\nthree\n", "\(outcome.summary)")
    }

    @Test("a program's streams are ready when there is something, or at its end")
    func program() async throws {
      let outcome = try await bash(
        """
        exec 3<>/v/team/moa/new; printf 'read a; echo said $a; read b; exit 7' >&3
        read -r name <&3 && \(Self.tool) program /v/team/moa/$name
        """, as: "ann")
      #expect(
        outcome.output == """
          quiet ['-', '-', '-'] OUT
          Resource temporarily unavailable
          said IN b'said word\\n'
          ended ['HUP', 'IN', 'IN']
          b'exited 7\\n' b'exited 7\\n' b''
          behind it ['HUP', 'HUP', 'HUP']

          """, "\(outcome.summary)")
    }

    @Test("a file is always ready, and asks nobody for that")
    func file() async throws {
      let outcome = try await bash(
        """
        python3 - /v/storage/moa/hello <<'END'
        import os, select, sys
        def sent():
            for line in open("/v/host/kea/net/stats"):
                if line.startswith("requestsSent "): return int(line.split()[1])
        fd = os.open(sys.argv[1], os.O_RDONLY)
        poller = select.poll(); poller.register(fd, select.POLLIN)
        before = sent()
        for _ in range(100): found = poller.poll(0)
        print(found == [(fd, select.POLLIN)], sent() - before < 50)
        END
        """)
      #expect(outcome.output == "True True\n", "\(outcome.summary)")
    }

    @Test("nothing that watches is left when its file is closed, whatever it waited for")
    func leftOver() async throws {
      let outcome = try await bash(
        """
        p=/v/pipe/moa/left; : >$p
        python3 - $p <<'END'
        import os, select, sys
        for _ in range(50):
            fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
            poller = select.poll(); poller.register(fd, select.POLLIN); poller.poll(1)
            os.close(fd)
        END
        await '(($(grep -c " pipe/moa/left" /v/host/moa/uio) == 0))' && echo none; rm $p
        """, as: "ann")
      #expect(outcome.output == "none\n", "\(outcome.summary)")
    }

    @Test("a signal ends a poll that waits for a host that is silent")
    func signal() async throws {
      let lab = try await Lab.shared()
      let shell = try lab.shell(on: "kea", as: "ann")
      _ = try shell.run(": >/v/pipe/moa/silent; exec 3<>/v/pipe/moa/silent")
      try await lab.command("pause", ["moa"])
      let outcome = try shell.run(
        """
        timeout -s INT 1 python3 -c 'import select; print(select.select([3], [], [], 20))' 2>&1 |
          tail -1
        """, limit: .seconds(8))
      try await lab.command("resume", ["moa"])
      #expect(outcome.output.hasPrefix("KeyboardInterrupt"), "\(outcome.output)")
      _ = try shell.run("exec 3>&-; rm /v/pipe/moa/silent", limit: .seconds(20))
    }
  }
}
