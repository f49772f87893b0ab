import Foundation
import Testing

extension LabTests {
  /// Operations that must not be repeated show whether they were done twice, or not at all.
  @Suite(
    "A network that loses, doubles and reorders packets", .tags(.mount),
    .enabled(if: !Lab.isBridged, "a bridge makes no faults"))
  struct BadNetworkTests {
    /// Percent of the packets in each direction.
    static let faults = [["loss", "5"], ["dup", "2"], ["reorder", "5"]]

    @Test("10,000 appends of one octet by four processes make a file of 10,000")
    func appends() async throws {
      let outcome = try await withFaults { lab in
        let file = "/v/storage/moa/" + (try await lab.makeDirectory(on: "moa", "octets")) + "/file"
        let script = """
          import os, sys
          file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
          for _ in range(2500): assert os.write(file, b'x') == 1
          """
        let append = ["python3", "-c", script, file]
        async let one = lab.run(on: "kea", append, limit: .seconds(60))
        async let two = lab.run(on: "kea", append, limit: .seconds(60))
        async let three = lab.run(on: "kea", append, limit: .seconds(60))
        async let four = lab.run(on: "kea", append, limit: .seconds(60))
        for outcome in try await [one, two, three, four] { expectSuccess(outcome) }
        return try await lab.run(on: "kea", ["stat", "-c", "%s", file])
      }
      #expect(outcome.output == "10000\n", "\(outcome.summary)")
    }

    @Test("a name is increased 2,000 times by rename, by two hosts in turns")
    func renames() async throws {
      let outcomes = try await withFaults { lab in
        let directory =
          "/v/storage/moa/" + (try await lab.makeDirectory(on: "moa", "counted"))
        expectSuccess(try await lab.run(on: "moa", ["touch", directory + "/0"]))
        // Each host renames in its turn; a rename done twice, or not, would stop them both.
        let script = """
          import os, sys, time
          os.chdir(sys.argv[1])
          number, end = int(sys.argv[2]), time.time() + 80
          while number < 2000:
              try:
                  os.rename(str(number), str(number + 1))
                  number += 1 if number % 100 != 99 else 101
              except FileNotFoundError:
                  if time.time() > end: sys.exit(f'{number} is missing')
          """
        // kea does 0 to 99, 200 to 299 and so on.
        async let one = lab.run(
          on: "kea", ["python3", "-c", script, directory, "0"], limit: .seconds(90))
        async let other = lab.run(
          on: "moa", ["python3", "-c", script, directory, "100"], limit: .seconds(90))
        let both = [try await one, try await other]
        return both + [try await lab.run(on: "kea", ["ls", directory])]
      }
      for outcome in outcomes { expectSuccess(outcome) }
      #expect(outcomes[2].output == "2000\n", "\(outcomes[2].summary)")
    }

    @Test("is as bad as the lab's settings")
    func means() async throws {
      let lab = try await Lab.shared()
      struct Answer: Decodable {
        var median: Double
        var lost: Int
        enum CodingKeys: String, CodingKey {
          case median = "p50_us"
          case lost
        }
      }
      func ping() async throws -> Answer {
        let outcome = try await lab.run(on: "kea", ["v", "ping", "--json", "-c", "20", "moa"])
        return try JSONDecoder().decode(Answer.self, from: Data(outcome.output.utf8))
      }
      try await lab.command("fault", ["moa", "delay", "20"])
      let slow = try await ping()
      #expect(slow.median >= 40_000 && slow.lost == 0)
      try await lab.command("fault", ["moa", "off"])
      #expect(try await ping().median < slow.median)

      // The next packets of kea are lost, which costs retransmissions and nothing else.
      try await lab.command("fault", ["kea", "drop", "3"])
      #expect(try await ping().lost == 0)
      try await lab.command("fault", ["moa", "loss", "7"])
      let status = try await lab.command("status", []).output
      #expect(status.contains("p2 loss 7 dup 0 reorder 0 delay 0"), "\(status)")
      #expect(!status.contains("drop"), "\(status)")
      try await lab.command("fault", ["moa", "off"])
      for wrong in [["loss", "101"], ["loss"], ["rain", "5"], ["delay", "-1"]] {
        await #expect(throws: Program.Failure.self) {
          try await lab.command("fault", ["moa"] + wrong)
        }
      }
    }

    /// Runs `body` on a bad network, which is restored afterwards.
    private func withFaults<Result>(_ body: (Lab) async throws -> Result) async throws -> Result {
      let lab = try await Lab.shared()
      for fault in Self.faults { try await lab.command("fault", ["moa"] + fault) }
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(lab)) } catch { result = .failure(error) }
      try await lab.command("fault", ["moa", "off"])
      return try result.get()
    }
  }
}
