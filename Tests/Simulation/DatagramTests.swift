import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime

@Suite("Datagrams")
struct DatagramTests {
  @Test("a datagram to a server or a group comes once at most, with its client's principal")
  func once() {
    let simulator = Simulator(seed: 41)
    simulator.faults = Faults(duplication: 50, reordering: 30)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    let heard = Shared<[String]>([])
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      heard.value.append("\(request.message.mcb[3]) \(request.principal.map { "\($0)" } ?? "-")")
      // Without effect.
      moa.reply(Message(reply: .ok), to: request)
    }
    moa.join(server, group: group)
    moa.announce()
    simulator.run(for: .seconds(1))
    let client = kea.makeClient(user: "ann")
    for number: UInt32 in 1...6 {
      var mcb = MessageControlBlock(code: 0x7701)
      mcb[3] = number
      kea.sendDatagram(Message(mcb), from: client, to: number % 2 == 0 ? group : server)
      simulator.run(for: .seconds(Int64(number)))
    }
    #expect(heard.value == (1...6).map { "\($0) ann@kea" })
  }

  @Test("G1: a lost datagram is not repeated, and its client goes on")
  func lost() {
    let simulator = Simulator(seed: 42)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, executions) = startCounter(moa)
    let warm = sendMany(1, from: kea, to: server, bytes: { _ in 0 }, check: { _, _, _ in })
    simulator.run(for: .seconds(1)) { warm.value == 1 }
    let client = kea.makeClient(user: "ann")
    var mcb = MessageControlBlock(code: 0x7701)
    mcb[3] = 9
    simulator.dropsPacket = { _ in true }
    kea.sendDatagram(Message(mcb), from: client, to: server)
    simulator.run(for: .seconds(1))
    simulator.dropsPacket = nil
    simulator.run(for: .seconds(10))
    #expect(executions.value[9] == nil)
    let code = Shared<ReplyCode?>(nil)
    kea.send(Message(mcb), from: client, to: server, options: SendOptions()) {
      code.value = $0.code
    }
    simulator.run(for: .seconds(1)) { code.value != nil }
    #expect(code.value == .ok && executions.value[9] == 1)
  }
}
