import Foundation
import Testing

extension LabTests {
  /// A third host, tui, takes over the prefix `src` from moa; kea looks on.
  @Suite("Names that move", .tags(.mount))
  struct MovingNameTests {
    @Test("are found where they are now, by at most one question to all")
    func move() async throws {
      let lab = try await Lab.shared()
      try await serve(on: "moa", ["storage/moa", "src"], lab)
      #expect(try await read("kea", lab) == "src of moa\n")
      try await lab.command("up", (Lab.isBridged ? ["--bridge"] : []) + ["tui"])

      // While moa serves it no other host can, and gets moa's name.
      try await serve(on: "tui", ["src"], lab)
      #expect(try await read("kea", lab) == "src of moa\n")
      let log = try await lab.command("log", ["tui"]).output
      let refusal = "src is not served from /srv/moving/src: the name is taken, by moa\n"
      #expect(log.contains(refusal), "\(log)")

      try await serve(on: "moa", ["storage/moa"], lab)
      try await restart("tui", lab)
      let before = try await questions(on: "kea", lab)
      #expect(try await read("kea", lab) == "src of tui\n")
      #expect(try await questions(on: "kea", lab) <= before + 1)
      let unknown = try await lab.run(on: "kea", ["cat", "/v/never/claimed"])
      #expect(unknown.errors.contains("No such file or directory"), "\(unknown.summary)")

      // All the same for a host that has lost its table.
      expectSuccess(try await lab.run(on: "kea", ["rm", "/var/lib/v/claims"]))
      try await restart("kea", lab)
      #expect(try await read("kea", lab) == "src of tui\n")
      #expect(try await questions(on: "kea", lab) <= 1)

      // A prefix that was given up is forgotten, so tui leaves nothing behind.
      try await serve(on: "tui", [], lab)
      try await awaitForgotten(["src", "storage/tui"], lab)
      try await lab.command("kill", ["tui"])
    }

    @Test("that two hosts claimed apart go to the later claim when they meet; the loser logs it")
    func meeting() async throws {
      let lab = try await Lab.shared()
      try await lab.command("up", (Lab.isBridged ? ["--bridge"] : []) + ["tui"])
      for host in Lab.hosts { try await lab.command("partition", [host, "tui"]) }
      try await serve(on: "moa", ["storage/moa", "src"], lab)
      try await serve(on: "tui", ["src"], lab)
      #expect(try await read("kea", lab) == "src of moa\n")
      #expect(try await read("tui", lab) == "src of tui\n")
      try await lab.command("heal", [])
      // They spread their claims to each other every 30 s.
      let refusal = "src is not served from /srv/moving/src: the name is taken, by tui\n"
      var log = ""
      let isTold = try await comes(within: .seconds(40)) {
        log = try await lab.command("log", ["moa"]).output
        return log.contains(refusal)
      }
      #expect(isTold, "\(log)")
      for host in Lab.hosts + ["tui"] { #expect(try await read(host, lab) == "src of tui\n") }
      try await serve(on: "tui", [], lab)
      try await serve(on: "moa", ["storage/moa"], lab)
      try await awaitForgotten(["src", "storage/tui"], lab)
      try await lab.command("kill", ["tui"])
    }

    @Test("of a host that is away are described; everything below them is down")
    func absent() async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "moa", "of-one-away")
      try await lab.command("kill", ["moa"])
      // Nothing is known of moa on kea but its claims in the table.
      try await restart("kea", lab)
      let first = try await lab.run(on: "kea", ["stat", "-c", "%F", "/v/storage/moa"])
      #expect(first.output == "directory\n", "\(first.summary)")
      let known = try await lab.bash(
        on: "kea", "timeout 1 ls -ld /v/storage/moa && timeout 1 ls -l /v/storage")
      expectSuccess(known)
      for script in ["ls /v/storage/moa", "cat /v/storage/moa/x", ">/v/storage/moa/x"] {
        let below = try await lab.bash(on: "kea", "timeout 1 bash -c '\(script)'")
        #expect(below.errors.contains("Host is down"), "\(script): \(below.summary)")
      }
      try await lab.command("start", ["moa"])
      let back = try await lab.bash(
        on: "kea",
        "await test -d /v/storage/moa/\(directory)")
      expectSuccess(back)
    }

    private func read(_ host: String, _ lab: Lab) async throws -> String {
      try await lab.run(on: host, ["cat", "/v/src/who"]).output
    }

    /// Waits until kea has heard that these names are not served any more.
    private func awaitForgotten(_ names: [String], _ lab: Lab) async throws {
      for name in names {
        let isForgotten = try await lab.bash(
          on: "kea",
          "await '! ls /v/$(dirname \(name)) | grep -qx $(basename \(name))'", limit: .seconds(20))
        expectSuccess(isForgotten)
      }
    }

    /// How often the mount of `host` has asked the name handling group.
    private func questions(on host: String, _ lab: Lab) async throws -> Int {
      let text = try await lab.run(on: host, ["cat", "/v/.v/naming"]).output
      let line = text.split(separator: "\n").first { $0.hasPrefix("multicasts ") }
      return try #require(line.flatMap { Int($0.dropFirst("multicasts ".count)) }, "\(text)")
    }

    private func restart(_ host: String, _ lab: Lab) async throws {
      try await lab.command("kill", [host])
      try await lab.command("start", [host])
    }

    /// Gives a host's node these prefixes, with or without `storage/HOST` for `/srv/storage`, and
    /// restarts it.
    private func serve(on host: String, _ prefixes: [String], _ lab: Lab) async throws {
      let script = """
        file=/etc/v/vnode.toml
        sed -i '/^export/d; /^\\[\\[export/,$d' $file
        (($#)) || echo 'export = []' >>$file
        for prefix; do
          path=/srv/moving/$prefix
          if [[ $prefix == storage/* ]]; then
            path=/srv/storage
          else
            mkdir -p $path && echo "$prefix of $HOSTNAME" >$path/who
          fi
          printf '[[export]]\\nprefix = "%s"\\npath = "%s"\\nroot = ["*"]\\n' $prefix $path >>$file
        done
        """
      expectSuccess(
        try await lab.run(on: host, ["bash", "-ec", script, "serve"] + prefixes))
      try await restart(host, lab)
    }
  }
}
