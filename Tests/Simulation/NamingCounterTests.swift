import Testing
import VClient
import VDirectory
import VNode
import VProtocol
import VRuntime

@Suite("What a name cache counts, in the simulator")
struct NamingCounterTests {
  private let simulator = Simulator(seed: 41)

  /// What was counted for a lookup of a path.
  private struct Cost: Equatable {
    var hits = 0
    var nearMisses = 0
    var misses = 0
    var multicasts = 0
  }

  /// What a lookup of `path` from the root adds to the counters, and to the directory's questions.
  private func cost(of path: String, _ program: ClientHost, _ host: ClaimingHost) -> Cost {
    let (before, asked) = (program.client.names.counters, host.directory.questions)
    _ = try? program.find(path)
    let after = program.client.names.counters
    return Cost(
      hits: after.hits - before.hits, nearMisses: after.nearMisses - before.nearMisses,
      misses: after.misses - before.misses,
      multicasts: after.multicasts - before.multicasts + host.directory.questions - asked)
  }

  @Test("each lookup is one of hit, near miss and miss; multicasts are counted besides")
  func lookups() throws {
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src", "src/deep"])
    simulator.run(for: .seconds(5))
    let program = ClientHost(kea, simulator)
    #expect(cost(of: "src", program, kea) == Cost(misses: 1))
    #expect(cost(of: "src", program, kea) == Cost(hits: 1))
    // The file's manager is known by its parent.
    #expect(cost(of: "src/hello", program, kea) == Cost(hits: 2))
    #expect(cost(of: "src/never", program, kea) == Cost(hits: 2))
    // Of an unknown name nothing is known, and all hosts are asked; then that is known.
    #expect(cost(of: "doc", program, kea) == Cost(misses: 1, multicasts: 1))
    #expect(cost(of: "doc", program, kea) == Cost(misses: 1))
    _ = moa
  }

  @Test("a stale entry is a near miss, whether it is dropped or found out on use")
  func stale() throws {
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    let program = ClientHost(kea, simulator)
    #expect(cost(of: "src/hello", program, kea) == Cost(hits: 1, misses: 1))
    simulator.crash("moa")
    let again = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(10))
    // The prefix is in the cache; the object below it is asked of a manager that is gone.
    let found = cost(of: "src/hello", program, kea)
    #expect(found.hits == 1 && found.nearMisses == 1 && found.misses == 0)
    // From then on the cache knows that it has to ask.
    #expect(cost(of: "src", program, kea).nearMisses == 1)
    #expect(cost(of: "src", program, kea) == Cost(hits: 1))
    _ = (moa, again)
  }
}
