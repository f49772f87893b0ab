import Foundation
import Testing

extension LabTests {
  @Suite("A node that is killed and restarted", .tags(.mount))
  struct RestartTests {
    @Test("has its mount repaired, keeps what was synced, and is used on by other hosts")
    func restart() async throws {
      let lab = try await Lab.shared()
      for host in Lab.hosts {
        let made = try await lab.bash(
          on: "kea", "cd /v/storage/\(host) && echo kept >synced && sync synced")
        expectSuccess(made)
      }
      // moa has a file of kea open, and kea a directory that its programs are in.
      let remote = try lab.shell(on: "moa")
      let resident = try lab.shell(on: "kea")
      #expect(try remote.run("exec 3>>/v/storage/kea/held; echo before >&3").status == 0)
      #expect(try resident.run("cd /v/storage/moa").status == 0)

      try await lab.command("kill", ["kea"])
      // Programs on the dead mount get an error at once.
      for shell in [resident, try lab.shell(on: "kea")] {
        let told = try shell.run("timeout 5 ls /v; timeout 5 cat synced")
        #expect(told.output.contains("not connected"), "\(told.output)")
      }
      try await lab.command("start", ["kea"])

      let found = try await lab.bash(
        on: "kea", "cat /v/storage/kea/synced /v/storage/moa/synced; grep -c ' /v ' /proc/mounts")
      #expect(found.output == "kept\nkept\n1\n", "\(found.summary)")
      let written = try remote.run("echo after >&3 && exec 3>&- && cat /v/storage/kea/held")
      #expect(written == (0, "before\nafter\n"))
      let disk = try String(contentsOfFile: lab.disk("kea") + "/held", encoding: .utf8)
      #expect(disk == "before\nafter\n")
      #expect(try resident.run("cd /v/storage/moa && cat synced") == (0, "kept\n"))
    }

    @Test(
      "its file server holds nothing for clients of the node before",
      arguments: Lab.Servers.allCases)
    func locks(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let shell = try lab.shell(on: "kea")
      defer { _ = try? shell.run("kill -9 $lock; rm -f /v/storage/moa/held") }
      let taken = try shell.run(
        """
        exec 3>>/v/storage/moa/held; flock 3; sleep 3651 & lock=$!
        exec 3>&-; flock -n /v/storage/moa/held true; echo $?
        """)
      #expect(taken == (0, "1\n"))
      try await lab.command("kill", ["moa"])
      try await lab.command("start", ["moa"])
      let free = try shell.run(
        """
        await '[[ -e /v/storage/moa/held ]]'; kill -9 $lock; wait $lock 2>/dev/null
        await flock -n /v/storage/moa/held true; echo $?
        """, limit: .seconds(20))
      #expect(free.output.hasSuffix("0\n"), "\(free.output)")
      let local = try await lab.run(on: "moa", ["flock", "-n", "/srv/storage/held", "true"])
      expectSuccess(local)
    }
  }
}
