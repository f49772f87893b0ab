import NetworkFaults
import Testing
import VDirectory
import VFileServer
import VKernel
import VNode
import VProtocol
import VRuntime

@Suite("Prefixes that were lost to another host, in the simulator")
struct LostPrefixTests {
  private static let name = Array("src".utf8)

  /// The host that serves `src`, as a walk finds it; nil if none does.
  private func server(from host: ClaimingHost, _ simulator: Simulator) -> KernelID? {
    guard case .done(_, let server)? = outcome(simulator, { host.walk("src", $0) }) else {
      return nil
    }
    return server.kernel
  }

  /// Three hosts, of which moa lost `src` to tui when they met after a partition.
  private func lose(_ simulator: Simulator) throws -> (
    kea: ClaimingHost, moa: ClaimingHost, tui: ClaimingHost
  ) {
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(3))
    let node = simulator.start("tui")
    for host in ["moa", "kea"] { simulator.partition(host, "tui") }
    let tui = try ClaimingHost("tui", in: simulator, prefixes: ["src"], node: node)
    simulator.run(for: .seconds(3))
    simulator.heal()
    simulator.run(for: .seconds(40))
    return (kea, moa, tui)
  }

  @Test("their holder has them again when the winner is dead, and says so", arguments: seeds)
  func winnerDies(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let (kea, moa, tui) = try lose(simulator)
    #expect(moa.refusals.value == [.duplicateName], "V_SEED=\(seed)")
    #expect(moa.claimed.value == 1, "V_SEED=\(seed)")
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    simulator.crash("tui")
    simulator.run(for: .seconds(75))
    #expect(moa.claimed.value == 2, "V_SEED=\(seed)")
    for host in [kea, moa] {
      #expect(server(from: host, simulator) == moa.node.id, "V_SEED=\(seed)")
      #expect(host.directory.holder(of: Self.name) == "moa", "V_SEED=\(seed)")
    }
    _ = tui
  }

  @Test("their holder has them again when the winner gives them up")
  func winnerGivesUp() throws {
    let simulator = Simulator(seed: 31)
    let (kea, moa, tui) = try lose(simulator)
    try tui.fileServer.change(to: [])
    simulator.run(for: .seconds(75))
    #expect(moa.claimed.value == 2)
    #expect(server(from: kea, simulator) == moa.node.id)
  }

  @Test("a claimant that was refused at first has the prefix when its holder is dead")
  func refusedAtFirst() throws {
    let simulator = Simulator(seed: 32)
    let kea = try ClaimingHost("kea", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(3))
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(120))
    #expect(moa.refusals.value == [.duplicateName], "it is told once")
    simulator.crash("kea")
    simulator.run(for: .seconds(75))
    #expect(moa.claimed.value == 1)
    #expect(server(from: moa, simulator) == moa.node.id)
    _ = kea
  }

  @Test("the winner keeps them while it answers, and is asked about once a minute")
  func waiting() throws {
    let simulator = Simulator(seed: 33)
    let (kea, moa, tui) = try lose(simulator)
    simulator.run(for: .seconds(120))
    let before = tui.node.counters.responsesSent
    for _ in 0..<60 {
      simulator.run(for: .seconds(10))
      #expect(moa.directory.holder(of: Self.name) == "tui")
    }
    #expect(moa.claimed.value == 1 && moa.refusals.value == [.duplicateName])
    #expect(tui.refusals.value.isEmpty)
    // A question to the group and a probe; in ten minutes there are ten claims.
    #expect(tui.node.counters.responsesSent - before <= 30)
    #expect(server(from: kea, simulator) == tui.node.id)
  }

  @Test("a prefix that is given up meanwhile is not claimed again")
  func givenUp() throws {
    let simulator = Simulator(seed: 34)
    let (kea, moa, tui) = try lose(simulator)
    try moa.fileServer.change(to: [])
    simulator.crash("tui")
    simulator.run(for: .seconds(200))
    #expect(moa.claimed.value == 1)
    #expect(server(from: kea, simulator) == nil)
    _ = tui
  }

  @Test("two hosts that hear a third one, and not each other, take it in turns ever more rarely")
  func noAnswer() throws {
    let simulator = Simulator(seed: 35)
    let kea = try ClaimingHost("kea", in: simulator, prefixes: [])
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    let tui = try ClaimingHost("tui", in: simulator, prefixes: [])
    simulator.run(for: .seconds(3))
    simulator.partition("moa", "tui")
    try tui.fileServer.change(to: [Export(prefix: Self.name, path: "/", rootHosts: ["*"])])
    // kea tells each of them of the other's claim, and neither hears the other answer.
    let counts = (0..<3).map { _ in
      let before = moa.claimed.value + tui.claimed.value
      simulator.run(for: .seconds(600))
      return moa.claimed.value + tui.claimed.value - before
    }
    #expect(counts[2] <= 10, "\(counts)")
    simulator.heal()
    simulator.run(for: .seconds(100))
    let holders = Set([kea, moa, tui].map { server(from: $0, simulator) })
    #expect(holders.count == 1 && !holders.contains(nil))
    let before = moa.claimed.value + tui.claimed.value
    simulator.run(for: .seconds(600))
    #expect(moa.claimed.value + tui.claimed.value == before)
  }
}
