import Foundation
import Testing

extension LabTests {
  @Suite("A server that is a process of its own", .tags(.mount), .serialized)
  struct ApartTests {
    /// What a host reports about the names of kea's server while that does not run.
    private static let down = """
      cd /v/pipe; echo [km]*; stat -c %F kea
      for i in 'ls kea' 'cat kea/k' 'stat kea/none' 'touch kea/new' 'mv kea/k kea/l' 'rm kea/k'; do
        timeout 2 $i 2>&1 | grep -o 'Host is down\\|No such.*' || echo "$i: ${PIPESTATUS[*]}"
      done | sort | uniq -c
      cat /v/storage/kea/hello; : >moa/here && rm moa/here && echo all else works
      """
    private static let isDown = """
      kea moa
      directory
            6 Host is down
      hello from kea
      all else works

      """

    /// Not `cat <&5`: a bash that reads a script crashes if the fstat(2) of a descriptor fails.
    private static let readFive = "timeout 2 bash -c 'cat <&5'"

    @Test("killed, affects nothing else; its names are down at once, and then work again")
    func kill() async throws {
      let lab = try await Lab.shared(.apart)
      let shells = try Lab.hosts.map { try lab.shell(on: $0) }
      _ = try shells[0].run(": >/v/pipe/kea/k; exec 5<>/v/pipe/kea/k")
      for shell in shells {
        let waits = try shell.run(
          "(timeout 20 cat /v/pipe/kea/k 2>&1) >/tmp/read.$HOSTNAME & ls /v/pipe/kea")
        #expect(waits.output == "k\n", "\(waits.output)")
      }
      // kea's own end counts too.
      let waiting = try shells[0].run(
        "await '(($(grep -c \" pipe/kea/k\" /v/host/kea/uio) == 3))'; "
          + "grep -c ' pipe/kea/k' /v/host/kea/uio")
      #expect(waiting.output == "3\n", "\(waiting.output)")
      try await lab.command("kill", ["kea", "pipe"])
      for (host, shell) in zip(Lab.hosts, shells) {
        let outcome = try await lab.bash(on: host, Self.down, limit: .seconds(20))
        #expect(outcome.output == Self.isDown, "\(host): \(outcome.summary)")
        let read = try shell.run("wait; cat /tmp/read.$HOSTNAME; rm /tmp/read.$HOSTNAME")
        #expect(read.output == "cat: /v/pipe/kea/k: Host is down\n", "\(host): \(read.output)")
      }
      try await lab.command("start", ["kea", "pipe"])
      for host in Lab.hosts {
        let outcome = try await lab.bash(
          on: host,
          """
          await ': >/v/pipe/kea/new' 2>/dev/null
          ls /v/pipe/kea; rm /v/pipe/kea/new
          """)
        #expect(outcome.output == "new\n", "\(host): \(outcome.summary)")
      }
      // The pipe's blocks are gone with its server.
      let old = try shells[0].run("\(Self.readFive); cd /v/pipe/kea && pwd; cd /")
      #expect(old.output == "cat: -: Host is down\n/v/pipe/kea\n", "\(old.output)")
    }

    @Test("an open file works again when it is served again")
    func file() async throws {
      let lab = try await Lab.shared(.apart)
      let shells = try Lab.hosts.map { try lab.shell(on: $0) }
      for shell in shells {
        let opened = try shell.run("cd /v/storage/kea; exec 5<hello; read -n 3 -u 5 a; echo $a")
        #expect(opened.output == "hel\n")
      }
      try await lab.command("kill", ["kea", "file"])
      for shell in shells {
        let down = try shell.run("\(Self.readFive); timeout 2 ls")
        #expect(
          down.output
            == "cat: -: Host is down\nls: cannot open directory '.': Host is down\n")
      }
      try await lab.command("start", ["kea", "file"])
      for shell in shells {
        let back = try shell.run(
          "await cat hello 2>/dev/null; \(Self.readFive)")
        #expect(back.output == "hello from kea\nlo from kea\n", "\(back.output)")
      }
    }

    @Test("serves the next node after one that died")
    func nextNode() async throws {
      let lab = try await Lab.shared(.apart)
      try await lab.command("kill", ["kea"])
      try await lab.command("start", ["kea"])
      for host in Lab.hosts {
        let outcome = try await lab.bash(
          on: host,
          "await 'cat /v/storage/kea/hello && ls /v/pipe/kea' 2>/dev/null")
        #expect(outcome.output == "hello from kea\n", "\(host): \(outcome.summary)")
      }
    }

    @Test("reports a prefix that is served already, and a user who may not serve")
    func refused() async throws {
      let lab = try await Lab.shared()
      let words = [
        (["pipe"], "v: serve pipe: pipe/kea is served already, by kea\nv: a server runs in "),
        (
          ["file", "--export", "storage/moa=/tmp"],
          "v: serve file: storage/moa is served already, by moa\n"
        ),
      ]
      for (arguments, text) in words {
        let outcome = try await lab.run(on: "kea", ["v", "serve"] + arguments)
        #expect(outcome.status == 1 && outcome.errors.hasPrefix(text), "\(outcome.summary)")
      }
      // It does not serve the host's own directory, open to all hosts, instead.
      let unnamed = try await lab.run(on: "kea", ["v", "serve", "file", "--allow", "moa"])
      #expect(unnamed.status == 2 && unnamed.errors.contains("--export"), "\(unnamed.summary)")
      for guest in ["root", "nobody", "absent"] {
        let outcome = try await lab.run(
          on: "kea", ["v", "serve", "team", "--guest-user", guest])
        #expect(
          outcome.status == 2 && outcome.errors.contains("root nor nobody")
            || outcome.status == 2 && outcome.errors.contains("no such user"),
          "\(guest): \(outcome.summary)")
      }
      let user = try await lab.run(on: "kea", as: "ann", ["v", "serve", "pipe"])
      #expect(
        user.status == 1 && user.errors.hasPrefix("v: serve pipe: ann may not serve names"),
        "\(user.summary)")
    }
  }
}
