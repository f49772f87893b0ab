import Foundation
import Testing

extension LabTests {
  @Suite("v mount, unmount, doctor and bench", .tags(.mount))
  struct MountCommandTests {
    private func json(_ outcome: Outcome) throws -> [String: Any] {
      let value = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
      return try #require(value as? [String: Any], "\(outcome.summary)")
    }

    /// Ends everything that `v mount` started, and lets the lab start its own node again.
    private func restore(_ lab: Lab) async throws {
      _ = try await lab.bash(
        on: "moa",
        """
        read -r pid rest </run/v/vnode.pid && kill $pid && await '[[ ! -e /proc/$pid/exe ]]'
        rm -f /run/v/vnode.pid; while umount -l /v; do :; done 2>/dev/null
        """)
      try await lab.command("start", ["moa"])
    }

    @Test("a mount in use is left alone and its users are named; a free one is remounted")
    func unmount() async throws {
      let lab = try await Lab.shared()
      let held = try await lab.bash(
        on: "moa",
        "cd /v/storage && exec 5<moa/hello && exec sleep 30 & await '[[ -e /proc/$!/fd/5 ]]'; "
          + "v unmount; s=$?; kill $!; wait $!; exit $s")
      #expect(held.status == 1, "\(held.summary)")
      #expect(held.errors.contains("works in /v/storage"), "\(held.errors)")
      #expect(held.errors.contains("as descriptor 5, /v/storage/moa/hello"), "\(held.errors)")
      expectSuccess(
        try await lab.bash(on: "moa", "ls /v && v unmount && ! ls /v/storage"))
      let again = try await lab.run(on: "moa", ["v", "unmount", "/v"])
      #expect(again.status == 1 && again.errors.contains("not mounted there"), "\(again.summary)")
      // The node still serves.
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"]))
      expectSuccess(try await lab.run(on: "moa", ["v", "mount"], limit: .seconds(30)))
      expectSuccess(try await lab.run(on: "moa", ["cat", "/v/storage/moa/hello"]))
      // A node that was killed leaves a dead mount: the same command repairs it.
      let repaired = try await lab.bash(
        on: "moa",
        """
        read -r pid rest </run/v/vnode.pid && kill -9 $pid && await '[[ ! -e /proc/$pid/exe ]]'
        ls /v/storage && exit 1
        v mount && cat /v/storage/moa/hello && grep -c ' - fuse.v ' /proc/self/mountinfo
        """, limit: .seconds(30))
      #expect(repaired.isSuccess && repaired.output.hasSuffix("\n1\n"), "\(repaired.summary)")
      try await restore(lab)
    }

    @Test("mount/up repairs what a killed node left")
    func up() async throws {
      let lab = try await Lab.shared()
      try await lab.command("kill", ["moa"])
      // The built products are tested: this compiler only records its arguments.
      let outcome = try await lab.bash(
        on: "moa",
        """
        mkdir -p /run/nothing /run/usr/{upper,work}
        printf '#!/bin/sh\necho "$@" >>/run/builds\n' >/run/nothing/swift
        chmod 755 /run/nothing/swift
        mount -t overlay overlay /usr \\
          -o lowerdir=/usr,upperdir=/run/usr/upper,workdir=/run/usr/work || exit 1
        ls /v/storage && exit 1
        PATH=/run/nothing:$PATH \(Lab.root)/mount/up && cat /v/storage/moa/hello &&
        PATH=/run/nothing:$PATH \(Lab.root)/mount/up && [[ ! -e /run/builds ]] &&
        PATH=/run/nothing:$PATH \(Lab.root)/mount/up --build && [[ $(wc -l </run/builds) == 4 ]] &&
        umount /v && mount -t v v /v -o nofail,_netdev,x-systemd.requires=vnode.service &&
        cat /v/storage/moa/hello && ! mount -t v v /v -o size=5; s=$?
        umount -l /usr
        cd /run/usr/upper/local/share && ls -d man/man?/v* bash-completion/completions/v || exit 1
        source bash-completion/completions/v; complete -p v; exit $s
        """, limit: .seconds(60))
      #expect(
        outcome.isSuccess && outcome.output.contains("its mount on /v was taken away")
          && outcome.output.contains("all is up"), "\(outcome.summary)")
      #expect(outcome.output.contains("man/man5/vnode.toml.5"), "\(outcome.summary)")
      #expect(outcome.output.contains("complete"), "\(outcome.summary)")
      #expect(outcome.errors.contains("unknown option 'size=5'"), "\(outcome.summary)")
      try await restore(lab)
    }

    @Test("mount/down names programs that would end, and keeps their output if it ends them")
    func down() async throws {
      let lab = try await Lab.shared()
      // The scripts are on the mount that they remove.
      let outcome = try await lab.bash(
        on: "moa",
        """
        mkdir /srv/storage/scripts && cp -r \(Lab.root)/mount /srv/storage/scripts/ || exit 1
        name=$(v run --detach sh -c 'echo out; echo err >&2; exec sleep 600' 2>&1) || exit 1
        await 'v logs $name | grep -q out'
        /v/storage/moa/scripts/mount/down && exit 1
        v ps -q moa | grep -qx "$name" && ls /v/storage >/dev/null || exit 1
        /v/storage/moa/scripts/mount/down --force || exit 1
        file=/var/log/v-programs/${name//\\//-}
        cat $file.out $file.err; grep '^state ' $file.status
        ! grep ' - fuse.v ' /proc/self/mountinfo; s=$?
        rm -r /var/log/v-programs /srv/storage/scripts
        exit $s
        """, limit: .seconds(40))
      #expect(outcome.isSuccess, "\(outcome.summary)")
      #expect(outcome.output.contains("out\nerr\nstate killed TERM"), "\(outcome.summary)")
      #expect(outcome.errors.contains("programs would end with the node"), "\(outcome.summary)")
      #expect(outcome.errors.contains("sleep 600\n"), "\(outcome.summary)")
      try await lab.command("start", ["moa"])
    }

    @Test("the unit removes the mount of a node that was killed")
    func unit() async throws {
      let lab = try await Lab.shared()
      let unit = try String(
        contentsOfFile: Lab.root + "/mount/vnode.service", encoding: .utf8)
      let line = try #require(unit.split(separator: "\n").first { $0.hasPrefix("ExecStopPost=") })
      try await lab.command("kill", ["moa"])
      let outcome = try await lab.bash(
        on: "moa",
        "\(line.dropFirst("ExecStopPost=".count)); ! grep ' - fuse.v ' /proc/self/mountinfo")
      expectSuccess(outcome)
      try await lab.command("start", ["moa"])
      expectSuccess(try await lab.run(on: "moa", ["cat", "/v/storage/moa/hello"]))
    }

    @Test("doctor approves a good host, and names what another one lacks")
    func doctor() async throws {
      let lab = try await Lab.shared()
      func results(_ outcome: Outcome) throws -> [String: String] {
        let checks = try #require(try json(outcome)["checks"] as? [[String: Any]])
        var found: [String: String] = [:]
        for check in checks {
          found[check["check"] as? String ?? ""] = check["result"] as? String
        }
        return found
      }
      let sound = try await lab.run(on: "moa", ["v", "doctor", "--json"])
      #expect(sound.isSuccess, "\(sound.summary)")
      let checks = try results(sound)
      for name in [
        "/dev/fuse", "fuse3", "privilege", "configuration", "cluster key", "node", "port",
        "interface", "multicast", "mount", "peers",
      ] {
        #expect(checks[name] == "ok", "\(name): \(sound.output)")
      }
      try await lab.command("kill", ["moa"])
      let sick = try await lab.bash(
        on: "moa",
        """
        chmod 644 /etc/v/cluster.key
        python3 -c 'import signal, socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("10.77.0.2", 61044)); signal.pause()' & await 'ss -uln | grep -q 10.77.0.2:61044'
        v doctor --json; s=$?; v doctor >&2
        kill $!; chmod 600 /etc/v/cluster.key
        chown 1:1 /etc/v/cluster.key; v doctor >&2; chown 0:0 /etc/v/cluster.key; exit $s
        """)
      #expect(sick.status == 1, "\(sick.summary)")
      let found = try results(sick)
      for name in ["configuration", "cluster key", "node", "port"] {
        #expect(found[name] == "fail", "\(name): \(sick.output)")
      }
      #expect(found["mount"] != "ok")
      #expect(sick.errors.contains("mode 644"), "\(sick.errors)")
      #expect(sick.errors.contains("(python3)"), "\(sick.errors)")
      #expect(sick.errors.contains("chmod 600 /etc/v/cluster.key"), "\(sick.errors)")
      #expect(sick.errors.contains("key belongs to user number 1"), "\(sick.errors)")
      #expect(sick.errors.contains("chown root /etc/v/cluster.key"), "\(sick.errors)")
      try await lab.command("start", ["moa"])
    }

    @Test("bench prints every row, beside its control")
    func bench() async throws {
      let lab = try await Lab.shared()
      let echo = try lab.shell(on: "moa")
      #expect(
        try echo.run("v bench echo --port 9998 & await 'ss -uln | grep -q :9998'").status == 0)
      func rows(_ arguments: [String]) async throws -> [[String: Any]] {
        let outcome = try await lab.run(
          on: "kea", ["v", "bench"] + arguments + ["--json"], limit: .seconds(60))
        expectSuccess(outcome)
        return try #require(try json(outcome)["rows"] as? [[String: Any]])
      }
      let ipc = try await rows(["ipc", "moa", "-c", "20", "--echo", "10.77.0.2:9998"])
      #expect(ipc.count == 22)
      #expect(ipc.allSatisfy { ($0["p50_us"] as? Double ?? 0) > 0 && $0["ratio"] is Double })
      let uio = try await rows(["uio", "moa", "-c", "20"])
      #expect(uio.count == 16 && uio.allSatisfy { ($0["us_per_kb"] as? Double ?? 0) > 0 })
      let files = try await rows(["files", "/v/storage/moa", "--control", "/tmp", "--size", "2"])
      #expect(files.count == 8 && files.allSatisfy { $0["ratio"] is Double })
      let run = try await rows(["run", "moa", "-c", "3", "--rounds", "0"])
      #expect(run.count == 13 && run.allSatisfy { ($0["p50"] as? Double ?? 0) > 0 })
      let stat = try await lab.run(
        on: "kea", ["v", "bench", "stat", "/v/storage/moa/hello", "-c", "20", "--json"])
      #expect(try json(stat)["count"] as? Int == 20)
      let left = try await lab.bash(on: "moa", "ls -A /srv/storage | grep v-bench")
      #expect(left.output.isEmpty)
    }
  }
}
