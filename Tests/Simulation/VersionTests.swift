import Testing
import VNode
import VProtocol
import VRuntime

@Suite("Versions of the protocol in the simulator")
struct VersionTests {
  @Test(
    "nodes of two versions list each other, and exchange no messages", arguments: [true, false])
  func twoVersions(isSealed: Bool) {
    let simulator = Simulator(seed: 51)
    let secret = isSealed ? [UInt8](repeating: 7, count: 32) : nil
    let kea = simulator.start("kea", secret: secret, version: 1)
    let moa = simulator.start("moa", secret: secret, version: 2)
    let servers = [(kea, startCounter(kea)), (moa, startCounter(moa))]
    for node in [kea, moa] { node.announce() }
    simulator.run(for: .seconds(1))
    let codes = Shared<[ReplyCode]>([])
    for (asker, answerer) in [(kea, servers[1].1.server), (moa, servers[0].1.server)] {
      asker.send(
        Message(MessageControlBlock(code: 0x7701)), from: asker.makeClient(user: "ann"),
        to: answerer, options: SendOptions()
      ) { codes.value.append($0.code) }
    }
    #expect(simulator.run(for: .seconds(5)) { codes.value.count == 2 })
    #expect(codes.value == [.retransmissionTimeout, .retransmissionTimeout])
    for (_, server) in servers { #expect(server.executions.value.isEmpty) }
    for (index, version) in [(0, UInt8(2)), (1, UInt8(1))] {
      let machine = simulator.machines[index]
      // Its own multicasts come back to it as well.
      let refused = zip(machine.refused, machine.refusedSources).filter { $0.0 != .ownMulticast }
      #expect(!refused.isEmpty)
      #expect(refused.allSatisfy { $0.0 == .badVersion(version) })
      #expect(refused.allSatisfy { $0.1 == simulator.machines[1 - index].locator })
    }
    #expect(kea.peers.isEmpty && moa.peers.isEmpty)
  }

  @Test("nodes of one other version exchange messages")
  func otherVersion() {
    let simulator = Simulator(seed: 52)
    let key = [UInt8](repeating: 7, count: 32)
    let kea = simulator.start("kea", secret: key, version: 2)
    let moa = simulator.start("moa", secret: key, version: 2)
    let (server, _) = startCounter(moa)
    let done = sendMany(3, from: kea, to: server, bytes: { $0 * 3000 }, check: { _, _, _ in })
    #expect(simulator.run(for: .seconds(5)) { done.value == 3 })
  }
}
