import Testing

extension LabTests {
  /// The nodes use all networks of their hosts here, and not the one address of the lab.
  @Suite("A network that changes under running nodes", .tags(.mount))
  struct ChangingNetworkTests {
    static let configuration = "/etc/v/vnode.toml"

    @Test("a host that gets another address is found there, and finds the others")
    func address() async throws {
      try await withAllNetworks { lab in
        // So that there is no other way.
        try await bash("ip -6 addr flush dev eth0", on: Lab.hosts, lab)
        try await bash("ip addr del 10.77.0.2/24 dev eth0", on: ["moa"], lab)
        try await bash("ip addr add 10.77.0.99/24 dev eth0", on: ["moa"], lab)
        try await expectFiles(lab)
        let status = try await lab.run(on: "kea", ["cat", "/v/host/kea/net/map"])
        #expect(status.output.contains("10.77.0.99:61044 moa"), "\(status.summary)")
        try await bash(
          "ip addr del 10.77.0.99/24 dev eth0; ip addr add 10.77.0.2/24 dev eth0", on: ["moa"], lab)
        try await expectFiles(lab)
      }
    }

    @Test("hosts find each other over a second network, also made anew, when the first is cut")
    func second() async throws {
      try await withAllNetworks { lab in
        try await cut(lab)
        try await lab.command("link", Lab.hosts)
        try await expectFiles(lab)
        // Another interface by the same name; the memberships of the old one are gone with it.
        try await lab.command("unlink", Lab.hosts)
        try await lab.command("link", Lab.hosts)
        try await expectFiles(lab)
        try await join(lab)
        try await lab.command("unlink", Lab.hosts)
        try await expectFiles(lab)
      }
    }

    @Test("a call goes on over the other network when the one it used falls silent")
    func silent() async throws {
      try await withAllNetworks { lab in
        try await lab.command("link", Lab.hosts)
        for drops in ["eth0", "eth1"] {
          try await bash(
            """
            nft 'add table inet t; add chain inet t in { type filter hook input priority 0; }'
            nft 'add rule inet t in iifname "\(drops)" drop'
            """, on: Lab.hosts, lab)
          // At the first try, and so within 2 s.
          let read = try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"])
          #expect(read.output == "hello from moa\n", "\(drops): \(read.summary)")
          try await bash("nft delete table inet t", on: Lab.hosts, lab)
        }
        try await lab.command("unlink", Lab.hosts)
      }
    }

    @Test("hosts without IPv4 read each other's files")
    func onlyIPv6() async throws {
      try await withAllNetworks { lab in
        try await bash("ip -4 addr flush dev eth0", on: Lab.hosts, lab)
        try await expectFiles(lab)
        let status = try await lab.run(on: "kea", ["cat", "/v/host/kea/net/map"])
        #expect(status.output.contains("[fd77::2]:61044 moa"), "\(status.summary)")
        // Also after a start, with addresses of IPv6 in the configuration and no multicast.
        try await restart(
          """
          address=$(sed -n "s/^\\(fd77::.*\\) $HOSTNAME$/\\1/p" /etc/hosts)
          sed -i "1i listen = '$address'\\npeers = ['fd77::1', '[fd77::2]:61044']" \
            \(Self.configuration)
          nft 'add table inet t; add chain inet t in { type filter hook input priority 0; }'
          nft 'add rule inet t in ip6 daddr ff18::/16 drop'
          """, lab)
        try await expectFiles(lab)
        let doctor = try await lab.run(on: "kea", ["v", "status"], limit: .seconds(20))
        #expect(doctor.output.contains("[fd77::2]:61044"), "\(doctor.summary)")
        try await bash("sed -i '/^peers/d; /^listen/d' \(Self.configuration)", on: Lab.hosts, lab)
      }
    }

    // MARK: steps

    /// Runs `body` with nodes whose configuration names no address, and restores the network.
    private func withAllNetworks(_ body: (Lab) async throws -> Void) async throws {
      let lab = try await Lab.shared()
      try await restart("sed -i '/^listen/d' \(Self.configuration)", lab)
      let result: Result<Void, any Error>
      do { result = .success(try await body(lab)) } catch { result = .failure(error) }
      if !Lab.isBridged { try? await join(lab) }
      try await bash(
        """
        ip link del eth1; nft delete table inet t
        read -r v4 v6 < <(awk -v h="$HOSTNAME" '$2 == h { printf "%s ", $1 }' /etc/hosts)
        ip addr flush dev eth0 scope global
        ip addr add "$v4/24" dev eth0; ip -6 addr add "$v6/64" dev eth0 nodad
        ip link set eth0 up; ip route replace 224.0.0.0/4 dev eth0
        sed -i "1i listen = \\"$v4\\"" \(Self.configuration)
        """, on: Lab.hosts, lab, mayFail: true)
      try await restart("true", lab)
      try await expectFiles(lab)
      try result.get()
    }

    private func restart(_ change: String, _ lab: Lab) async throws {
      try await bash(change, on: Lab.hosts, lab)
      // A node that could not start is not running.
      for host in Lab.hosts { _ = try? await lab.command("kill", [host]) }
      for host in Lab.hosts { try await lab.command("start", [host]) }
    }

    /// Each host reads a file of the other, in time.
    private func expectFiles(
      _ lab: Lab, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      for (host, other) in [("kea", "moa"), ("moa", "kea")] {
        let read = try await lab.bash(
          on: host,
          """
          await '[[ $(timeout 5 cat /v/storage/\(other)/hello) == "hello from \(other)" ]]'
          """, limit: .seconds(30))
        expectSuccess(read, "\(host) reads from \(other):", sourceLocation: sourceLocation)
      }
    }

    private func cut(_ lab: Lab) async throws {
      for host in Lab.hosts { try await lab.command("cut", [host]) }
    }

    private func join(_ lab: Lab) async throws {
      for host in Lab.hosts { try await lab.command("join", [host]) }
    }

    private func bash(
      _ script: String, on hosts: [String], _ lab: Lab, mayFail: Bool = false
    ) async throws {
      for host in hosts {
        let outcome = try await lab.bash(on: host, script)
        if !mayFail { expectSuccess(outcome, host) }
      }
    }
  }
}
