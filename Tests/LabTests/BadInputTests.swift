import Foundation
import Testing

extension LabTests {
  @Suite("Bad input", .tags(.mount))
  struct BadInputTests {
    private struct Status: Decodable {
      struct Rejected: Decodable {
        var source: String
        var reason: String
        var count: Int
      }
      var rejected: [Rejected]
    }

    @Test(
      "F2: damaged, replayed, reflected, unsealed and cut packets are listed by reason and source"
    )
    func packets() async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "kea", "under-fire")
      let place = "/v/storage/kea/\(directory)"
      let count = 500
      // Meanwhile files are copied, and arrive complete.
      let sent = try await lab.bash(
        on: "moa",
        """
        head -c 8M /dev/urandom >/tmp-file
        { for i in {1..10}; do cp /tmp-file \(place)/f$i && cmp /tmp-file \(place)/f$i || exit; done
          echo whole; } >/tmp-copied & copying=$!
        python3 /srv/storage/tools/bad_packets.py 10.77.0.2 10.77.0.1 \(count) \
          /v/storage/kea && wait $copying
        cat /tmp-copied; rm /tmp-file /tmp-copied
        """, limit: .seconds(60))
      let lines = sent.output.split(separator: "\n")
      try #require(lines.count == 2 && lines[1] == "whole", "\(sent.summary)")
      let status = try await lab.run(on: "kea", ["v", "status", "--json"])
      let rejected = try JSONDecoder().decode(Status.self, from: Data(status.output.utf8)).rejected
        .filter { $0.source == "10.77.0.2:\(lines[0])" }
      let counts = Dictionary(uniqueKeysWithValues: rejected.map { ($0.reason, $0.count) })
      // A busy machine drops some. Not sealed: damaged packets, and those that kea had sent.
      #expect(counts["badSeal", default: 0] > count / 4, "\(status.output)")
      #expect(counts["replayed", default: 0] > count / 4, "\(status.output)")
      #expect(counts["unexpectedSealing", default: 0] > count / 4, "\(status.output)")
      #expect(counts["truncated", default: 0] > count / 4, "\(status.output)")
      expectSuccess(try await lab.bash(on: "kea", "rm -r \(place)"))
    }

    @Test("names that are too long are refused as such, on every level")
    func names() async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "moa", "long-names")
      for place in ["/v", "/v/storage", "/v/storage/moa/\(directory)"] {
        let tried = try await lab.bash(
          on: "kea",
          """
          long=$(printf %256s | tr ' ' n)
          cat \(place)/$long; mkdir \(place)/$long; >\(place)/$long; ln -s x \(place)/$long
          mv /v/storage/moa/\(directory) \(place)/$long
          """)
        let lines = tried.errors.split(separator: "\n")
        #expect(lines.count == 5, "\(place): \(tried.summary)")
        #expect(lines.allSatisfy { $0.hasSuffix(": File name too long") }, "\(tried.summary)")
      }
      let deep = try await lab.bash(
        on: "kea",
        """
        cd /v/storage/moa/\(directory) && name=$(printf %255s | tr ' ' d)
        for i in {1..20}; do mkdir $name && cd $name || exit; done
        echo deep >file && cat file && ls -l $name; cd /v/storage/moa && rm -r \(directory)
        """, limit: .seconds(20))
      #expect(deep.output == "deep\n", "\(deep.summary)")
    }
  }
}
