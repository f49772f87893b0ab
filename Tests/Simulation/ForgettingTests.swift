import NetworkFaults
import Testing
import VDirectory
import VFileServer
import VNode
import VProtocol
import VRuntime

@Suite("Names that are forgotten, in the simulator")
struct ForgettingTests {
  private func names(of host: ClaimingHost, _ simulator: Simulator) -> Set<String> {
    Set(outcome(simulator) { host.list("storage", $0) } ?? []).subtracting(["self", "any"])
  }

  private func code(of path: String, _ host: ClaimingHost, _ simulator: Simulator) -> ReplyCode? {
    outcome(simulator) { host.walk(path, $0) }?.refusal
  }

  private func export(_ name: String, isReadOnly: Bool = false) -> Export {
    Export(prefix: Array(name.utf8), path: "/", isReadOnly: isReadOnly, rootHosts: ["*"])
  }

  private static let moa = Array("storage/moa".utf8)

  @Test(
    "root forgets a host that is gone, on every host, until it is back",
    arguments: seeds.prefix(2))
  func forget(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let kea = try ClaimingHost("kea", in: simulator)
    let tui = try ClaimingHost("tui", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["storage/moa", "host/moa"])
    simulator.run(for: .seconds(40))
    #expect(kea.code(of: ForgetName(prefix: Self.moa), simulator) == .inUse, "V_SEED=\(seed)")
    simulator.crash("moa")
    #expect(names(of: kea, simulator) == ["kea", "moa", "tui"], "V_SEED=\(seed)")
    // With host/moa all claims of moa are forgotten.
    let forget = ForgetName(prefix: Array("host/moa".utf8))
    #expect(kea.code(of: forget, simulator) == .ok, "V_SEED=\(seed)")
    #expect(kea.code(of: forget, simulator) == .notFound, "V_SEED=\(seed)")
    simulator.run(for: .seconds(40))
    for host in [kea, tui] {
      #expect(names(of: host, simulator) == ["kea", "tui"], "V_SEED=\(seed)")
      #expect(code(of: "storage/moa/hello", host, simulator) == .notFound, "V_SEED=\(seed)")
    }
    let back = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(40))
    for host in [kea, tui, back] {
      #expect(names(of: host, simulator) == ["kea", "moa", "tui"], "V_SEED=\(seed)")
    }
    _ = moa
  }

  @Test(
    "a host that was only cut off keeps its name in spite of forgetting",
    arguments: seeds.prefix(2))
  func holder(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let kea = try ClaimingHost("kea", in: simulator)
    let tui = try ClaimingHost("tui", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    simulator.partition("kea", "moa")
    simulator.partition("tui", "moa")
    #expect(kea.code(of: ForgetName(prefix: Self.moa), simulator) == .ok, "V_SEED=\(seed)")
    simulator.run(for: .seconds(40))
    for host in [kea, tui] {
      #expect(names(of: host, simulator) == ["kea", "tui"], "V_SEED=\(seed)")
    }
    simulator.heal()
    simulator.run(for: .seconds(70))
    #expect(moa.refusals.value.isEmpty, "V_SEED=\(seed)")
    for host in [kea, tui, moa] {
      #expect(names(of: host, simulator) == ["kea", "moa", "tui"], "V_SEED=\(seed)")
      #expect(code(of: "storage/moa/hello", host, simulator) == nil, "V_SEED=\(seed)")
    }
  }

  @Test("a host that is silent for long leaves the listings, even after restarts of others")
  func silence() throws {
    let simulator = Simulator(seed: 6)
    let table = Shared<[UInt8]>([])
    let kea = try ClaimingHost("kea", in: simulator, claims: table)
    let moa = try ClaimingHost("moa", in: simulator)
    kea.directory.setForgetting(after: .seconds(400))
    simulator.run(for: .seconds(500))
    #expect(names(of: kea, simulator) == ["kea", "moa"], "who is there stays")
    simulator.crash("moa")
    simulator.run(for: .seconds(200))
    // Claims again, which writes the table; then restarts from it.
    kea.fileServer.claim(in: kea.directory.server) { _, _ in }
    simulator.run(for: .seconds(1))
    simulator.crash("kea")
    let again = try ClaimingHost("kea", in: simulator, claims: table)
    again.directory.setForgetting(after: .seconds(400))
    simulator.run(for: .seconds(100))
    #expect(names(of: again, simulator) == ["kea", "moa"])
    #expect(code(of: "storage/moa/hello", again, simulator) == .retransmissionTimeout)
    simulator.run(for: .seconds(150))
    #expect(names(of: again, simulator) == ["kea"])
    #expect(code(of: "storage/moa/hello", again, simulator) == .notFound)
    _ = moa
  }

  @Test("a manager that ended leaves the listings too, although its host is up")
  func endedManager() throws {
    let simulator = Simulator(seed: 7)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    for host in [kea, moa] { host.directory.setForgetting(after: .seconds(300)) }
    simulator.run(for: .seconds(5))
    guard case .done(_, let manager)? = outcome(simulator, { moa.walk("storage/moa", $0) }) else {
      Issue.record("storage/moa is not served")
      return
    }
    moa.node.retire(manager)
    moa.directory.probeManagers()
    simulator.run(for: .seconds(200))
    #expect(names(of: kea, simulator) == ["kea", "moa"])
    simulator.run(for: .seconds(200))
    for host in [kea, moa] { #expect(names(of: host, simulator) == ["kea"]) }
  }

  @Test("changed exports of a running server appear and disappear on every host")
  func exports() throws {
    let simulator = Simulator(seed: 8)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    #expect(throws: ExportFailure.self) {
      try moa.fileServer.change(to: [export("a"), export("a")])
    }
    #expect(code(of: "storage/moa/hello", kea, simulator) == nil)
    try moa.fileServer.change(to: [export("src")])
    simulator.run(for: .seconds(5))
    #expect(names(of: kea, simulator) == ["kea"])
    #expect(code(of: "storage/moa/hello", kea, simulator) == .notFound)
    #expect(code(of: "src/hello", kea, simulator) == nil)
    try moa.fileServer.change(to: [export("storage/moa", isReadOnly: true), export("src")])
    simulator.run(for: .seconds(5))
    #expect(names(of: kea, simulator) == ["kea", "moa"])
    let name = ContextName(kea.directory.nameSpace.root, Array("storage/moa/new".utf8))
    #expect(
      kea.code(of: AddName(name, kind: .context, permissions: 0o755), simulator) == .readOnly)
    try moa.fileServer.change(to: [export("storage/moa"), export("src")])
    #expect(kea.code(of: AddName(name, kind: .context, permissions: 0o755), simulator) == .ok)
  }

  @Test("an export that goes while it is still being claimed leaves no name")
  func brief() throws {
    let simulator = Simulator(seed: 9)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(5))
    try moa.fileServer.change(to: [export("storage/moa"), export("storage/brief")])
    simulator.run(for: .milliseconds(50))
    try moa.fileServer.change(to: [export("storage/moa")])
    simulator.run(for: .seconds(5))
    for host in [kea, moa] { #expect(names(of: host, simulator) == ["kea", "moa"]) }
  }
}
