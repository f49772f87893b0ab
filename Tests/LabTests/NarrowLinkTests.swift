import Testing

extension LabTests {
  /// Two blocks of a segment do not fit in one packet of such a link.
  @Suite("A link of 576 octets", .tags(.mount))
  struct NarrowLinkTests {
    @Test(
      "M2, M3: carries files whole, in both directions",
      arguments: [["kea"], ["moa"], ["kea", "moa"]])
    func files(narrow: [String]) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "moa", "narrow-\(narrow.joined())")
      for host in narrow { try await setSize(576, of: host, in: lab) }
      let copied = try await lab.bash(
        on: "kea",
        """
        cd /v/storage/moa/\(directory) && seq 20000 >/srv/storage/narrow &&
        timeout -s KILL 20 cp /srv/storage/narrow up &&
        timeout -s KILL 20 cmp /srv/storage/narrow up
        """, limit: .seconds(50))
      for host in narrow { try await setSize(1500, of: host, in: lab) }
      expectSuccess(copied)
      let kept = try await lab.bash(
        on: "moa", "seq 20000 | cmp - /srv/storage/\(directory)/up")
      expectSuccess(kept)
    }

    /// IPv6 leaves a device of fewer than 1,280 octets, with its addresses.
    private func setSize(_ octets: Int, of host: String, in lab: Lab) async throws {
      expectSuccess(
        try await lab.bash(
          on: host,
          """
          address=$(sed -n 's/^\\(fd77::.*\\) \(host)$/\\1/p' /etc/hosts)
          ip link set eth0 mtu \(octets)
          ((\(octets) < 1280)) || ip -6 addr replace "$address/64" dev eth0 nodad
          """))
    }
  }
}
