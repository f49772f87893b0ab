import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime

@Suite("Forward beyond ForwardCount in the simulator", .timeLimit(.minutes(2)))
struct NestedCallTests {
  /// Hosts with a server each that counts its executions and forwards to the next host's, in a
  /// ring, until the request has been forwarded `forwards` times; then it answers.
  private final class Ring: @unchecked Sendable {
    let nodes: [Node]
    private(set) var servers: [EntityID] = []
    var executions: [UInt32: Int] = [:]
    /// Who the last server was told that asks.
    var principals: [String] = []

    init(_ simulator: Simulator, _ hosts: [String], forwards: UInt32) {
      nodes = hosts.map { simulator.start($0) }
      for (index, node) in nodes.enumerated() {
        servers.append(
          node.makeServer(knowsPrincipals: true) { [unowned node, unowned self] request in
            var message = request.message
            executions[message.mcb[3], default: 0] += 1
            if message.mcb[3] == forwards {
              principals.append("\(request.principal.map { "\($0)" } ?? "-") \(request.isLocal)")
              message.mcb.code = 0
              return node.reply(message, to: request)
            }
            message.mcb[3] += 1
            node.forward(request, message, to: servers[(index + 1) % servers.count])
          })
      }
    }

    /// The response to a new client of the node at `index`.
    func ask(_ simulator: Simulator, from index: Int) -> Response? {
      outcome(simulator) { [self] completion in
        nodes[index].send(
          Message(MessageControlBlock(code: 0x7701), segment: [UInt8](repeating: 5, count: 3000)),
          from: nodes[index].makeClient(user: "ann"), to: servers[0], options: SendOptions(),
          completion: completion)
      }
    }
  }

  @Test(
    "W4: after 15 forwards the last server answers itself; the 16th forward is a nested call",
    arguments: [15, 16, 31] as [UInt32])
  func sixteenth(forwards: UInt32) {
    let simulator = Simulator(seed: 1)
    let ring = Ring(simulator, ["kea", "moa", "tui"], forwards: forwards)
    let response = ring.ask(simulator, from: 2)
    #expect(response?.code == .ok)
    #expect(response?.message.mcb[3] == forwards)
    #expect(response?.message.segment.count == 3000)
    // The kernel that makes the nested call answers for the server that forwards.
    #expect(response?.server == ring.servers[15 % 3])
    #expect(
      ring.executions == Dictionary(uniqueKeysWithValues: (0...forwards).map { ($0, 1) }))
    // No host speaks for a user of another one.
    #expect(ring.principals == [forwards == 15 ? "ann@tui false" : "- false"])
  }

  @Test(
    "W4: every server of a long chain works once, if packets come twice or late",
    arguments: seeds)
  func repeated(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(duplication: 10, reordering: 20)
    let ring = Ring(simulator, (0..<18).map { "host\($0)" }, forwards: 16)
    let response = ring.ask(simulator, from: 17)
    #expect(response?.code == .ok && response?.message.mcb[3] == 16, "V_SEED=\(seed)")
    #expect(ring.executions.count == 17, "V_SEED=\(seed)")
    #expect(ring.executions.values.allSatisfy { $0 == 1 }, "V_SEED=\(seed)")
  }

  @Test("W4: a nested call for a client of the same host is made for its user")
  func sameHost() {
    let simulator = Simulator(seed: 1)
    let ring = Ring(simulator, ["kea"], forwards: 20)
    #expect(ring.ask(simulator, from: 0)?.code == .ok)
    #expect(ring.principals == ["ann@kea true"])
  }

  @Test("W4: on one host, the nested call of another host's client is none of its own")
  func remoteClientHere() {
    let simulator = Simulator(seed: 1)
    let ring = Ring(simulator, ["kea"], forwards: 16)
    let moa = simulator.start("moa")
    let code: ReplyCode? = outcome(simulator) { completion in
      moa.send(
        Message(MessageControlBlock(code: 0x7701)), from: moa.makeClient(user: "ann"),
        to: ring.servers[0], options: SendOptions()
      ) { completion($0.code) }
    }
    #expect(code == .ok)
    #expect(ring.principals == ["- false"])
  }

  @Test(
    "W4: a request that is forwarded in a circle ends with an error, after 31 forwards",
    arguments: [["kea"], ["kea", "moa"], ["kea", "moa", "tui"]])
  func circle(hosts: [String]) {
    let simulator = Simulator(seed: 3)
    let ring = Ring(simulator, hosts, forwards: .max)
    #expect(ring.ask(simulator, from: hosts.count - 1)?.code == .vmtpError)
    #expect(ring.executions.values.reduce(0, +) == 32)
    // Nothing goes on.
    simulator.run(for: .seconds(30))
    #expect(ring.executions.values.reduce(0, +) == 32)
  }

  @Test("W4: the code that ends a nested call ends the client's transaction")
  func silentTarget() {
    let simulator = Simulator(seed: 4)
    let ring = Ring(simulator, ["kea", "moa"], forwards: .max)
    simulator.dropsPacket = { [unowned ring] _ in ring.executions[15] != nil }
    let response = ring.ask(simulator, from: 1)
    #expect(response?.code == .retransmissionTimeout)
    #expect(ring.executions[16] == nil)
  }
}
