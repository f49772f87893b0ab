import Foundation
import Testing

extension LabTests {
  @Suite("Hosts that multicast does not reach", .tags(.mount))
  struct PeersTests {
    private static let configuration = "/etc/v/vnode.toml"

    @Test("find each other by the peers in their configurations")
    func peers() async throws {
      let lab = try await Lab.shared()
      try "by name\n".write(
        toFile: lab.disk("moa") + "/hello", atomically: false, encoding: .utf8)
      try await change(
        """
        nft 'add table inet v_no_multicast'
        nft 'add chain inet v_no_multicast out { type filter hook output priority 0; }'
        nft 'add rule inet v_no_multicast out ip daddr 224.0.0.0/4 counter drop'
        """, on: lab)
      // Without peers each of them is alone.
      let alone = try await lab.run(on: "kea", ["ls", "/v/storage/moa"])
      #expect(!alone.isSuccess, "\(alone.summary)")
      // Peers are taken from a changed file, without a restart and with one.
      for host in Lab.hosts {
        expectSuccess(
          try await lab.bash(
            on: host,
            """
            sed -i '1i peers = ["10.77.0.1", "10.77.0.2"]' \(Self.configuration)
            pkill -HUP -x vnode
            """))
      }
      let reloaded = try await lab.bash(
        on: "kea", "await '[[ $(cat /v/storage/moa/hello) == \"by name\" ]]'")
      expectSuccess(reloaded)
      try await change("true", on: lab)
      let found = try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"])
      #expect(found.output == "by name\n", "\(found.summary)")
      let listed = try await lab.run(on: "moa", ["ls", "/v/storage"])
      #expect(listed.output.contains("kea\n"), "\(listed.summary)")
      try await change(
        "nft delete table inet v_no_multicast; sed -i /^peers/d \(Self.configuration)", on: lab)
      let back = try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"])
      #expect(back.output == "by name\n", "\(back.summary)")
    }

    @Test("on a network that drops all multicasts, names, groups and new prefixes work")
    func noMulticast() async throws {
      let lab = try await Lab.shared()
      try "by name\n".write(
        toFile: lab.disk("moa") + "/hello", atomically: false, encoding: .utf8)
      try await change(
        """
        cp \(Self.configuration) \(Self.configuration).before
        sed -i '1i peers = ["10.77.0.1", "10.77.0.2"]' \(Self.configuration)
        nft 'add table inet v_no_multicast'
        for hook in input output; do
          nft "add chain inet v_no_multicast $hook { type filter hook $hook priority 0; }"
          nft "add rule inet v_no_multicast $hook ip daddr 239.192.0.0/12 counter drop"
          nft "add rule inet v_no_multicast $hook ip6 daddr ff18::/16 counter drop"
        done
        """, on: lab)
      for host in Lab.hosts {
        let listed = try await lab.bash(
          on: host, "await '[[ $(ls /v/storage | xargs) == \"any kea moa self\" ]]'")
        expectSuccess(listed)
      }
      expectSuccess(
        try await lab.bash(
          on: "kea", as: "ann", "mkdir -m 777 /v/group/flock; touch /v/group/flock/members/me"))
      expectSuccess(
        try await lab.bash(on: "moa", as: "ann", "touch /v/group/flock/members/me"))
      let sent = try await lab.bash(
        on: "kea", as: "ann",
        "v group send flock good day; rm /v/group/flock/members/*; rmdir /v/group/flock")
      // A third host, of an earlier test, may have had members when it was silent.
      let answers = sent.output.replacing("tui: no answer\n", with: "")
      #expect(answers == "kea:me: taken\nmoa:me: taken\n", "\(sent.summary)")
      expectSuccess(
        try await lab.bash(
          on: "moa",
          """
          printf '[[export]]\\nprefix = "late"\\npath = "/srv/storage"\\n' >>\(Self.configuration)
          pkill -HUP -x vnode
          """))
      let late = try await lab.bash(
        on: "kea", "await '[[ $(cat /v/late/hello) == \"by name\" ]]'")
      expectSuccess(late)
      let dropped = try await lab.bash(
        on: "kea", "nft list table inet v_no_multicast | grep -c 'packets [1-9]'")
      #expect(dropped.output != "0\n", "\(dropped.summary)")
      try await change(
        "nft delete table inet v_no_multicast; "
          + "mv \(Self.configuration).before \(Self.configuration)", on: lab)
    }

    /// Runs `script` on every host and restarts its node.
    private func change(_ script: String, on lab: Lab) async throws {
      for host in Lab.hosts {
        let outcome = try await lab.run(on: host, ["bash", "-ec", script])
        expectSuccess(outcome)
        try await lab.command("kill", [host])
      }
      for host in Lab.hosts { try await lab.command("start", [host]) }
    }
  }
}
