import Foundation
import Testing

extension LabTests {
  @Suite("Two hosts and one file", .tags(.mount))
  struct SharingTests {
    @Test(
      "lines appended by two hosts at once stay whole and in order", arguments: Lab.Servers.allCases
    )
    func appends(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let file = try await lab.makeDirectory(on: "moa", "appends") + "/file"
      try await atOnce(lab) { host in
        ["python3", "/srv/storage/tools/append.py", "/v/storage/moa/\(file)", host, "10000"]
      }
      let check = try await lab.run(
        on: "moa",
        [
          "python3", "/srv/storage/tools/append.py", "/srv/storage/\(file)", "--check", "10000",
        ] + Lab.hosts)
      #expect(check.isSuccess && check.output.hasPrefix("20000 lines"), "\(check.summary)")
      print("appended by two hosts: \(check.output)", terminator: "")
    }

    @Test(
      "one host reads at once what the other appended, 1,000 times in turns",
      arguments: Lab.Servers.allCases)
    func turns(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let directory = "/v/storage/moa/" + (try await lab.makeDirectory(on: "moa", "turns"))
      let shells = try Lab.hosts.map { try lab.shell(on: $0) }
      for shell in shells {
        // Descriptor 3 stays open: it too must see each new line.
        let opened = try shell.run("cd \(directory) && touch file && exec 3<file")
        try #require(opened.status == 0, "\(opened.output)")
      }
      var expected = ""
      for turn in 0..<1000 {
        let line = "turn \(turn) \(String(repeating: "+", count: turn % 80))"
        let written = try shells[turn % 2].run("echo '\(line)' >>file")
        try #require(written.status == 0, "turn \(turn): \(written.output)")
        expected += line + "\n"
        let size = expected.utf8.count
        let read = try shells[1 - turn % 2].run(
          "stat -c %s file; read -r <&3; echo \"$REPLY\"; cat file")
        try #require(
          read.output == "\(size)\n\(line)\n\(expected)",
          "turn \(turn): \(Outcome.tail(read.output, lines: 3))")
        // Its own line, which must be exactly there.
        let own = try shells[turn % 2].run("read -r <&3; echo \"$REPLY\"")
        try #require(own.output == line + "\n", "turn \(turn): \(own.output)")
      }
    }

    @Test(
      "a directory renamed by another host stays the directory of processes in it",
      arguments: Lab.Servers.allCases)
    func renamedDirectory(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      for server in Lab.hosts {
        let directory = try await lab.makeDirectory(on: server, "renamed")
        let kea = try lab.shell(on: "kea")
        let moa = try lab.shell(on: "moa")
        let entered = try kea.run("cd /v/storage/\(server)/\(directory) && mkdir a && cd a && >old")
        try #require(entered.status == 0, "\(entered.output)")
        let moved = try moa.run("cd /v/storage/\(server)/\(directory) && mv a b && mkdir a")
        try #require(moved.status == 0, "\(moved.output)")
        let made = try kea.run("echo late >late")
        let appended = try kea.run("echo later >>old")
        for outcome in [made, appended] where outcome.status != 0 {
          #expect(outcome.output.contains("Stale file handle"))
        }
        let path = lab.disk(server) + "/" + directory
        let names = { try FileManager.default.contentsOfDirectory(atPath: path + $0).sorted() }
        #expect(try names("/a") == [], "what was written in the old a came into the new one")
        #expect(try names("/b") == (made.status == 0 ? ["late", "old"] : ["old"]))
        let old = try String(contentsOfFile: path + "/b/old", encoding: .utf8)
        #expect(old == (appended.status == 0 ? "later\n" : ""))
      }
    }

    @Test(
      "lock files exclude the other host", arguments: ["link", "exclusive"], Lab.Servers.allCases)
    func locks(kind: String, servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let directory = try await lab.makeDirectory(on: "moa", "locks-\(kind)")
      let number = lab.disk("moa") + "/\(directory)/number"
      try "0\n".write(toFile: number, atomically: false, encoding: .utf8)
      try await atOnce(lab) { _ in
        ["python3", "/srv/storage/tools/lock.py", "/v/storage/moa/\(directory)", kind, "200"]
      }
      #expect(try String(contentsOfFile: number, encoding: .utf8) == "400\n")
    }

    @Test(
      "df shows the disk of the export's host", arguments: Lab.hosts, Lab.Servers.allCases)
    func diskSpace(server: String, servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      func numbers(_ path: String, on host: String) async throws -> [Double] {
        let outcome = try await lab.run(
          on: host, ["df", "--block-size=1", "--output=size,avail,itotal", path])
        expectSuccess(outcome)
        return outcome.output.split(separator: "\n").last?.split(separator: " ").compactMap {
          Double($0)
        } ?? []
      }
      let seen = try await numbers("/v/storage/\(server)", on: "kea")
      let real = try await numbers("/srv/storage", on: server)
      try #require(seen.count == 3 && real.count == 3)
      #expect(seen[0] == real[0] && seen[2] == real[2])
      // Others use the disk too.
      #expect(abs(seen[1] - real[1]) < 0.05 * real[0])
    }

    /// Runs a program in both hosts at once; both must succeed.
    private func atOnce(_ lab: Lab, _ arguments: (String) -> [String]) async throws {
      let (first, second) = (arguments(Lab.hosts[0]), arguments(Lab.hosts[1]))
      async let one = lab.run(on: Lab.hosts[0], first, limit: .seconds(60))
      async let other = lab.run(on: Lab.hosts[1], second, limit: .seconds(60))
      for (host, outcome) in zip(Lab.hosts, [try await one, try await other]) {
        expectSuccess(outcome, host)
      }
    }
  }
}
