import Foundation
import Testing

extension LabTests {
  @Suite("v status names the cause of a host's silence", .tags(.mount))
  struct SilenceTests {
    private static let configuration = "/etc/v/vnode.toml"

    private struct Status: Decodable {
      struct Trouble: Decodable, Hashable {
        var host: String
        var cause: String
        var detail: String
        var remedy: String
      }
      var troubles: [Trouble]
    }

    /// Waits until `v status` of `host` names the cause, in JSON and in text.
    private func expect(
      _ cause: String, of silent: String, seenFrom host: String, _ words: String, on lab: Lab,
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      var isTold = false
      var isShown = false
      var last = ""
      let isBoth = try await comes {
        if !isTold {
          let outcome = try await lab.run(on: host, ["v", "status", "--json"])
          let status = try JSONDecoder().decode(Status.self, from: Data(outcome.output.utf8))
          isTold = status.troubles.contains {
            $0.host == silent && $0.cause == cause && $0.detail.contains(words)
          }
        }
        if !isShown {
          last = try await lab.run(on: host, ["v", "status"]).output
          isShown = last.split(separator: "\n").contains {
            $0.hasPrefix("\(silent): \(cause): ") && $0.contains(words)
          }
        }
        return isTold && isShown
      }
      #expect(
        isBoth, "told \(isTold), shown \(isShown):\n\(last)", sourceLocation: sourceLocation)
    }

    private func bash(_ script: String, on host: String, _ lab: Lab) async throws {
      expectSuccess(try await lab.bash(on: host, "set -e; " + script))
    }

    private func restart(_ host: String, _ lab: Lab) async throws {
      try await lab.command("kill", [host])
      try await lab.command("start", [host])
    }

    /// Both hosts as they were, and each alive for the other.
    private func heal(_ lab: Lab, restarting hosts: [String]) async throws {
      for host in Lab.hosts { try await bash("nft flush ruleset", on: host, lab) }
      for host in hosts { try await restart(host, lab) }
      for (host, other) in [("kea", "moa"), ("moa", "kea")] {
        expectSuccess(
          try await lab.bash(on: host, "await v ping -c 1 \(other)"))
      }
    }

    @Test("all is well, and no cause is named")
    func well() async throws {
      let lab = try await Lab.shared()
      try await heal(lab, restarting: [])
      let outcome = try await lab.run(on: "kea", ["v", "status", "--json"])
      let status = try JSONDecoder().decode(Status.self, from: Data(outcome.output.utf8))
      #expect(status.troubles.isEmpty, "\(outcome.output)")
    }

    @Test("another cluster key")
    func key() async throws {
      let lab = try await Lab.shared()
      let key = "/etc/v/cluster.key"
      try await bash("cp -p \(key) /tmp-key; head -c 32 /dev/urandom >\(key)", on: "moa", lab)
      try await restart("moa", lab)
      try await expect("key", of: "moa", seenFrom: "kea", "do not open with", on: lab)
      try await bash("cp -p /tmp-key \(key)", on: "moa", lab)
      try await heal(lab, restarting: ["moa"])
    }

    @Test("another version of the protocol")
    func version() async throws {
      let lab = try await Lab.shared()
      try await lab.command("kill", ["moa"])
      // A sealed packet of version 0, as far as it is readable.
      try await bash(
        """
        python3 -c "import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(bytes(8) + b'\\\\x10\\\\x45\\\\x40\\\\x00' + bytes(80), ('10.77.0.1', 61044))"
        """, on: "moa", lab)
      try await expect("version", of: "moa", seenFrom: "kea", "badVersion(0)", on: lab)
      try await lab.command("start", ["moa"])
      try await heal(lab, restarting: [])
    }

    @Test("a wrong clock")
    func clock() async throws {
      let lab = try await Lab.shared()
      let library = "/tmp/v-clock-\(UUID().uuidString).so"
      defer { try? FileManager.default.removeItem(atPath: library) }
      expectSuccess(
        try await Program.run(
          ["gcc", "-shared", "-fPIC", "-o", library, Lab.tools + "/other_clock.c"],
          limit: .seconds(20)))
      try await lab.command("kill", ["moa"])
      try await bash(
        """
        cd /; LD_PRELOAD=\(library) setsid vnode --config \(Self.configuration) \
          </dev/null >/tmp-clock.log 2>&1 & echo $! >/tmp-clock.pid
        await grep -q ready /tmp-clock.log
        """, on: "moa", lab)
      try await expect("clock", of: "moa", seenFrom: "kea", "1 h ahead of", on: lab)
      try await expect("clock", of: "kea", seenFrom: "moa", "behind", on: lab)
      try await bash(
        "kill $(cat /tmp-clock.pid); await '! pgrep -x vnode'", on: "moa", lab)
      try await lab.command("start", ["moa"])
      try await heal(lab, restarting: [])
    }

    @Test("a node that hangs, and recovers in spite of the questions")
    func hung() async throws {
      let lab = try await Lab.shared()
      try await lab.command("pause", ["moa"])
      try await expect("silent", of: "moa", seenFrom: "kea", "answers a ping", on: lab)
      try await lab.command("resume", ["moa"])
      try await heal(lab, restarting: [])
      let after = try await lab.run(on: "moa", ["v", "status", "--json"])
      #expect(!after.output.contains("unexpectedSealing"), "\(after.output)")
    }

    @Test("no multicast")
    func multicast() async throws {
      let lab = try await Lab.shared()
      try await bash(
        """
        nft add table inet t; nft 'add chain inet t out { type filter hook output priority 0; }'
        nft add rule inet t out ip daddr 224.0.0.0/4 drop
        """, on: "kea", lab)
      try await restart("kea", lab)
      try await expect(
        "multicast", of: "kea", seenFrom: "kea", "do not come back from eth0", on: lab)
      try await heal(lab, restarting: ["kea"])
    }

    @Test("the wrong interface")
    func interface() async throws {
      let lab = try await Lab.shared()
      try await bash(
        """
        ip link add d0 type veth peer name d1; ip link set d1 up
        ip addr add 10.78.0.2/24 dev d0; ip link set d0 up
        cp \(Self.configuration) /tmp-toml
        sed -i 's/^listen.*/listen = "10.78.0.2"/' \(Self.configuration)
        """, on: "moa", lab)
      try await restart("moa", lab)
      try await expect("interface", of: "moa", seenFrom: "moa", "has eth0 (10.77.0.2) too", on: lab)
      try await expect("refused", of: "moa", seenFrom: "kea", "it uses another address", on: lab)
      try await bash("ip link del d0; cp /tmp-toml \(Self.configuration)", on: "moa", lab)
      try await heal(lab, restarting: ["moa"])
    }

    @Test("its own address is gone, and no other host is blamed")
    func ownAddress() async throws {
      let lab = try await Lab.shared()
      try await bash(
        "ip addr del 10.77.0.2/24 dev eth0; ip addr add 10.77.0.77/24 dev eth0", on: "moa", lab)
      try await expect("interface", of: "moa", seenFrom: "moa", "has eth0 (10.77.0.77)", on: lab)
      let outcome = try await lab.run(on: "moa", ["v", "status", "--json"])
      let status = try JSONDecoder().decode(Status.self, from: Data(outcome.output.utf8))
      let blamed = Set(status.troubles.map(\.host))
      #expect(blamed == ["moa"], "\(outcome.output)")
      try await bash(
        "ip addr flush dev eth0 scope global; ip addr add 10.77.0.2/24 dev eth0; "
          + "ip route add 224.0.0.0/4 dev eth0", on: "moa", lab)
      try await heal(lab, restarting: ["moa"])
    }

    @Test(
      "a firewall, and an unplugged cable",
      arguments: [
        ("moa", "in", "input", "udp dport 61044 drop", "silent", "answers a ping"),
        ("moa", "in", "input", "udp dport 61044 reject", "refused", "rejects the port"),
        ("moa", "in", "input", "ip saddr 10.77.0.1 drop", "unreachable", "does not answer at all"),
        ("kea", "out", "output", "ip daddr 10.77.0.2 drop", "firewall", "kea itself"),
      ])
    func firewall(
      host: String, chain: String, hook: String, rule: String, cause: String, words: String
    ) async throws {
      let lab = try await Lab.shared()
      try await bash(
        """
        nft add table inet t
        nft 'add chain inet t \(chain) { type filter hook \(hook) priority 0; }'
        nft add rule inet t \(chain) \(rule)
        """, on: host, lab)
      try await expect(cause, of: "moa", seenFrom: "kea", words, on: lab)
      try await heal(lab, restarting: [])
    }

    @Test("a configured peer that was never heard")
    func configured() async throws {
      let lab = try await Lab.shared()
      try await bash(
        """
        cp \(Self.configuration) /tmp-toml
        sed -i '1i peers = ["10.77.0.2:9"]' \(Self.configuration)
        """, on: "kea", lab)
      try await lab.command("kill", ["moa"])
      try await restart("kea", lab)
      try await expect("refused", of: "10.77.0.2:9", seenFrom: "kea", "refuses port 9", on: lab)
      try await bash("cp /tmp-toml \(Self.configuration)", on: "kea", lab)
      try await lab.command("start", ["moa"])
      try await heal(lab, restarting: ["kea"])
    }
  }
}
