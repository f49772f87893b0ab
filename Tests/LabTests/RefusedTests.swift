import Foundation
import Testing

extension LabTests {
  /// Its machine says so, by ICMP.
  @Suite("A host where no node runs any more", .tags(.mount))
  struct RefusedTests {
    @Test("is found out after a few probes, long before it counts as silent by itself")
    func killed() async throws {
      let lab = try await Lab.shared()
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"]))
      let before = try await counts(lab)
      try await lab.command("kill", ["moa"])
      let read = try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"])
      #expect(read.errors.contains("Host is down"), "\(read.summary)")
      let after = try await counts(lab)
      func more(_ name: String) -> Int { after[name, default: 0] - before[name, default: 0] }
      #expect(more("silentPeers") > 0)
      // In 2 s there are more than twenty, and no probes.
      #expect(more("retransmissions") < 15, "\(after)")
      #expect(more("probesSent") >= 4, "\(after)")
      try await lab.command("start", ["moa"])
      expectSuccess(try await lab.bash(on: "kea", "await cat /v/storage/moa/hello"))
    }

    @Test("a living one goes on, whoever says that it is not there")
    func forged() async throws {
      let lab = try await Lab.shared()
      expectSuccess(try await lab.bash(on: "moa", "seq 1000000 >/srv/storage/forged"))
      let silent = try await counts(lab)["silentPeers"]
      async let forging = lab.run(on: "moa", ["python3", "-c", Self.forger], limit: .seconds(60))
      let read = try await lab.bash(
        on: "kea",
        """
        trap 'rm /v/storage/moa/forged' EXIT
        for i in {1..5}; do cmp <(seq 1000000) /v/storage/moa/forged || exit; done
        """, limit: .seconds(60))
      expectSuccess(read)
      let forged = try await forging
      expectSuccess(forged)
      #expect(Int(forged.output.dropLast()) ?? 0 > 100, "\(forged.summary)")
      #expect(try await counts(lab)["silentPeers"] == silent)
    }

    /// Reports that moa's port is closed, for packets that kea may have sent.
    ///
    /// One for each transaction of its own, until the file that kea reads is gone. Says how many.
    private static let forger = """
      import os, socket, struct
      def summed(packet):
          total = sum(struct.unpack('!%dH' % (len(packet) // 2), packet))
          while total >> 16: total = (total & 65535) + (total >> 16)
          return struct.pack('!H', ~total & 65535)
      kea, moa = (socket.inet_aton('10.77.0.%d' % n) for n in (1, 2))
      quoted = struct.pack('!BBHHHBBH', 0x45, 0, 128, 0, 0, 64, 17, 0) + kea + moa
      quoted += struct.pack('!HHHH', 61044, 61044, 108, 0)
      report = struct.pack('!BBHI', 3, 3, 0, 0) + quoted
      report = report[:2] + summed(report) + report[4:]
      sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
      count = 0
      while os.path.exists('/srv/storage/forged'):
          sender.sendto(report, ('10.77.0.1', 0))
          os.stat('/v/storage/kea')
          count += 1
      print(count)
      """

    private func counts(_ lab: Lab) async throws -> [String: Int] {
      let stats = try await lab.run(on: "kea", ["cat", "/v/host/kea/net/stats"]).output
      var counts: [String: Int] = [:]
      for line in stats.split(separator: "\n") {
        let words = line.split(separator: " ")
        if words.count == 3 { counts[String(words[0])] = Int(words[1]) }
      }
      return counts
    }
  }
}
