import Foundation
import Testing

extension LabTests {
  @Suite("Locks of two hosts", .tags(.mount))
  struct LockTests {
    private static let tool = "python3 /srv/storage/tools/locking.py"

    /// A new file of moa: its name on both hosts, and on moa's own disk.
    private func file(_ lab: Lab, _ name: String) async throws -> (shared: String, own: String) {
      let directory = try await lab.makeDirectory(on: "moa", "locks-\(name)")
      try "".write(
        toFile: lab.disk("moa") + "/\(directory)/f", atomically: false, encoding: .utf8)
      return ("/v/storage/moa/\(directory)/f", "/srv/storage/\(directory)/f")
    }

    /// Starts a program that stays and prints a first line; its output comes from descriptor 4, and
    /// its input goes to descriptor 5.
    private func start(_ shell: Shell, _ command: String) throws {
      let started = try shell.run(
        """
        coproc WORKER { exec \(command) 2>&1; }
        exec 4<&${WORKER[0]}- 5>&${WORKER[1]}-
        worker=$WORKER_PID
        read -t 8 -r line <&4 && echo "$line"
        """)
      try #require(started.output == "held\n", "\(started.output)")
    }

    @Test(
      "a lock excludes the other host, this one and the server's own programs",
      arguments: ["posix", "ofd", "flock"])
    func excludes(kind: String) async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, kind)
      for holder in Lab.hosts {
        let shell = try lab.shell(on: holder)
        try start(shell, "\(Self.tool) \(file.shared) hold \(kind)")
        let views = [("kea", file.shared), ("moa", file.shared), ("moa", file.own)]
        for (host, path) in views {
          let tried = try await lab.bash(on: host, "\(Self.tool) \(path) try \(kind)")
          #expect(tried.output == "EAGAIN\n", "\(holder) holds, \(host) asks: \(tried.summary)")
        }
        let freed = try shell.run(
          "exec 5>&-; wait $worker; \(Self.tool) \(file.shared) try \(kind)")
        #expect(freed.output == "got\n", "\(holder)")
        let own = try lab.shell(on: "moa")
        try start(own, "\(Self.tool) \(file.own) hold \(kind)")
        let tried = try await lab.bash(on: holder, "\(Self.tool) \(file.shared) try \(kind)")
        #expect(tried.output == "EAGAIN\n", "the server's program holds: \(tried.summary)")
      }
    }

    @Test("a waiting program gets the free lock; a signal ends the wait and leaves nothing")
    func waits() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "waits")
      for kind in ["posix", "ofd", "flock"] {
        let shell = try lab.shell(on: "moa")
        try start(shell, "\(Self.tool) \(file.own) hold \(kind)")
        for signal in ["INT", "KILL"] {
          let ended = try await lab.bash(
            on: "kea", "timeout -s \(signal) 0.5 \(Self.tool) \(file.shared) wait \(kind)")
          #expect(!ended.output.contains("got") && ended.seconds < 5, "\(ended.summary)")
        }
        async let waiter = lab.bash(on: "kea", "\(Self.tool) \(file.shared) wait \(kind)")
        expectSuccess(try await lab.bash(on: "kea", "await locks python[3].*\(file.shared).wait"))
        _ = try shell.run("exec 5>&-; wait $worker")
        #expect(try await waiter.output == "got\n", "\(kind)")
        let left = try await lab.bash(on: "moa", "\(Self.tool) \(file.own) try \(kind)")
        #expect(left.output == "got\n", "\(kind): what ended left a lock: \(left.summary)")
      }
    }

    @Test("two hosts that wait for each other: one gets EDEADLK")
    func deadlock() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "deadlock")
      let kea = try lab.shell(on: "kea")
      let moa = try lab.shell(on: "moa")
      try start(kea, "\(Self.tool) \(file.shared) circle 0 1")
      try start(moa, "\(Self.tool) \(file.shared) circle 1 0")
      #expect(try kea.run("echo go >&5; await asks $worker").status == 0)
      let told = try moa.run("echo go >&5; read -t 8 -r line <&4; echo \"$line\"")
      #expect(told.output == "EDEADLOCK\n" || told.output == "EDEADLK\n", "\(told.output)")
      let got = try kea.run("read -t 8 -r line <&4; echo \"$line\"")
      #expect(got.output == "got\n")
    }

    @Test("kill -9 of the holder frees the lock; a close of any descriptor frees a POSIX one")
    func frees() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "frees")
      for kind in ["posix", "ofd", "flock"] {
        let shell = try lab.shell(on: "kea")
        try start(shell, "\(Self.tool) \(file.shared) hold \(kind)")
        _ = try shell.run("kill -9 $worker; wait $worker")
        let tried = try await lab.bash(on: "moa", "\(Self.tool) \(file.own) wait \(kind)")
        #expect(tried.output == "got\n" && tried.seconds < 5, "\(kind): \(tried.summary)")
      }
      let closed = try await lab.bash(
        on: "kea",
        """
        exec python3 - \(file.shared) <<'END'
        import fcntl, os, subprocess, sys
        first, second = (os.open(sys.argv[1], os.O_RDWR) for _ in range(2))
        fcntl.lockf(first, fcntl.LOCK_EX)
        os.close(second)
        tool = ["python3", "/srv/storage/tools/locking.py", sys.argv[1], "try", "posix"]
        subprocess.run(tool, check=True)
        END
        """)
      #expect(closed.output == "got\n", "\(closed.summary)")
    }

    @Test("a wait that was cut off takes no lock later, although its file stays open")
    func cutOff() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "cut-off")
      for kind in ["posix", "flock"] {
        let own = try lab.shell(on: "moa")
        try start(own, "\(Self.tool) \(file.own) hold \(kind)")
        let kea = try lab.shell(on: "kea")
        _ = try kea.run(
          """
          coproc WAITER { exec \(Self.tool) \(file.shared) wait \(kind) linger; }
          exec 4<&${WAITER[0]}- 5>&${WAITER[1]}-
          read -t 8 -r line <&4
          await asks $WAITER_PID
          """)
        try await lab.command("partition", ["kea", "moa"])
        let told = try kea.run("read -t 8 -r line <&4; echo \"$line\"")
        #expect(told.output == "EHOSTDOWN\n", "\(told.output)")
        try await lab.command("heal", [])
        _ = try own.run("exec 5>&-; wait $worker")
        let free = try await lab.bash(on: "moa", "\(Self.tool) \(file.own) wait \(kind)")
        #expect(free.output == "got\n", "\(kind): \(free.summary)")
      }
    }

    @Test("consecutive runs of flock(1) never meet each other's locks")
    func oneAfterTheOther() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "series")
      let series = try await lab.bash(
        on: "kea",
        "for i in {1..200}; do flock -n \(file.shared) true || echo refused; done")
      expectSuccess(series)
      #expect(series.output == "")
    }

    @Test("no increment of two hosts and a program of the server is lost")
    func counts() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "counts")
      let work = [("kea", file.shared), ("moa", file.shared), ("moa", file.own)]
      try await withThrowingTaskGroup(of: Outcome.self) { group in
        for (host, path) in work {
          group.addTask {
            try await lab.bash(on: host, "\(Self.tool) \(path) count 300", limit: .seconds(60))
          }
        }
        for try await outcome in group { expectSuccess(outcome) }
      }
      let number = try await lab.run(on: "moa", ["cat", file.own])
      #expect(number.output == "900")
    }

    @Test("no committed increment of a SQLite database is lost: 100 each of two hosts")
    func sqlite() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "sqlite")
      expectSuccess(
        try await lab.run(
          on: "moa", ["sqlite3", file.own, "create table t (number); insert into t values (0)"]))
      try await withThrowingTaskGroup(of: Outcome.self) { group in
        for host in Lab.hosts {
          group.addTask {
            try await lab.run(
              on: host, ["python3", "/srv/storage/tools/increments.py", file.shared, "100"],
              limit: .seconds(90))
          }
        }
        for try await outcome in group { expectSuccess(outcome) }
      }
      let number = try await lab.run(
        on: "moa", ["sqlite3", file.own, "select number from t; pragma integrity_check"])
      #expect(number.output == "200\nok\n")
    }

    @Test("a lock outlives a restart of its server; one that was given away breaks its file")
    func restart() async throws {
      let lab = try await Lab.shared()
      let file = try await file(lab, "restart")
      let kea = try lab.shell(on: "kea")
      try start(kea, "\(Self.tool) \(file.shared) write")
      let write = "echo line >&5; read -t 15 -r line <&4; echo \"$line\""
      try await lab.command("kill", ["moa"])
      try await lab.command("start", ["moa"])
      let kept = try kea.run(write, limit: .seconds(20))
      #expect(kept.output == "written\n", "\(kept.output)")
      let tried = try await lab.bash(on: "moa", "\(Self.tool) \(file.own) try posix")
      #expect(tried.output == "EAGAIN\n", "it was taken again: \(tried.summary)")
      try await lab.command("kill", ["moa"])
      try await lab.command("start", ["moa"])
      let taken = try await lab.bash(on: "moa", "\(Self.tool) \(file.shared) try posix")
      #expect(taken.output == "got\n", "\(taken.summary)")
      let broken = try kea.run(write, limit: .seconds(20))
      #expect(broken.output == "EIO\n", "\(broken.output)")
      let again = try kea.run(
        "\(write); exec 5>&-; wait $worker; \(Self.tool) \(file.shared) try posix")
      #expect(again.output == "EIO\ngot\n", "\(again.output)")
    }
  }

  @Suite("Extended attributes of two hosts", .tags(.mount))
  struct AttributeTests {
    @Test("user.* by anybody, trusted.* by root, ACLs not at all, user.v.* of the mount")
    func attributes() async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "moa", "attributes")
      let script = """
        import os, struct, sys
        path = sys.argv[1]
        open(path, "w").close()
        def attempt(what, *arguments):
            try:
                print(what.__name__, what(path, *arguments))
            except OSError as error:
                print(what.__name__, error.strerror)
        attempt(os.setxattr, "user.a", b"1")
        attempt(os.setxattr, "user.a", b"2", os.XATTR_CREATE)
        attempt(os.getxattr, "user.a")
        attempt(os.setxattr, "trusted.t", b"3")
        attempt(os.listxattr)
        attempt(os.removexattr, "user.a")
        attempt(os.getxattr, "user.a")
        entries = [(tag, 7, 2**32 - 1) for tag in (1, 4, 32)]
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        attempt(os.setxattr, "system.posix_acl_access", acl)
        attempt(os.getxattr, "user.v.manager")
        attempt(os.setxattr, "user.v.manager", b"x")
        attempt(os.setxattr, "user.b", bytes(20000))
        """
      for host in Lab.hosts {
        for user in ["root", "ann"] {
          let outcome = try await lab.run(
            on: host, as: user,
            ["python3", "-c", script, "/v/storage/moa/\(directory)/\(host)-\(user)"])
          let isRoot = user == "root"
          #expect(
            outcome.output == """
              setxattr None
              setxattr File exists
              getxattr b'1'
              setxattr \(isRoot ? "None" : "Operation not permitted")
              listxattr \(isRoot ? "['user.a', 'trusted.t']" : "['user.a']")
              removexattr None
              getxattr No data available
              setxattr Operation not supported
              getxattr b'storage/moa'
              setxattr Operation not permitted
              setxattr Argument list too long

              """, "\(host) \(user): \(outcome.summary)")
        }
      }
    }
  }
}
