import Testing
import VNode
import VObjects
import VProtocol
import VRuntime

@Suite("Priority in the simulator")
struct PriorityTests {
  private let simulator = Simulator(seed: 71)

  @Test("O4: urgent behind 1000 background requests is served next")
  func urgentNext() {
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let process = MessageProcess(moa)
    let served = Shared<[UInt32]>([])
    @Sendable func serve() {
      process.receive { [unowned moa] request in
        served.value.append(request.message.mcb[3])
        moa.after(.milliseconds(1)) {
          moa.reply(Message(reply: .ok), to: request)
          serve()
        }
      }
    }
    serve()
    func send(_ number: UInt32, from node: Node, as user: ClientUser) {
      var mcb = MessageControlBlock(code: 1)
      mcb[3] = number
      node.send(
        Message(mcb), from: node.makeClient(user), to: process.entity, options: SendOptions()
      ) { #expect($0.code == .ok) }
    }
    for number: UInt32 in 1...1000 { send(number, from: kea, as: "ann") }
    simulator.run(for: .seconds(5)) { served.value.count == 20 }
    send(5000, from: moa, as: ClientUser("bob", marks: [], priority: .urgent))
    simulator.run(for: .seconds(60)) { served.value.count == 1001 }
    #expect(served.value.count == 1001 && served.value[20] == 5000)
  }

  /// What a server on the second host is told of a message that a client of one of them sends.
  private func told(
    from sender: Int, _ own: Priority, asked: Priority? = nil, isDatagram: Bool = false,
    knowsPrincipals: Bool = true
  ) -> Priority? {
    let simulator = Simulator(seed: 72)
    let nodes = [simulator.start("kea"), simulator.start("moa")]
    let found = Shared<Priority?>(nil)
    let server = nodes[1].makeServer(knowsPrincipals: knowsPrincipals) {
      [unowned node = nodes[1]] request in
      found.value = request.priority
      node.reply(Message(reply: .ok), to: request)
    }
    nodes[1].announce()
    simulator.run(for: .seconds(1))
    let client = nodes[sender].makeClient(ClientUser("ann", marks: [], priority: own))
    let message = Message(MessageControlBlock(code: 1))
    if isDatagram {
      nodes[sender].sendDatagram(message, from: client, to: server)
    } else {
      nodes[sender].send(
        message, from: client, to: server,
        options: asked.map { SendOptions(priority: $0) } ?? SendOptions()
      ) { #expect($0.code == .ok) }
    }
    simulator.run(for: .seconds(1))
    return found.value
  }

  @Test("a client has the priority of its user, and may lower that of a message but not raise it")
  func lowering() {
    #expect(told(from: 1, .normal) == .normal)
    #expect(told(from: 1, .urgent) == .urgent)
    #expect(told(from: 1, .urgent, isDatagram: true) == .urgent)
    #expect(told(from: 1, .urgent, asked: .background) == .background)
    #expect(told(from: 1, .guest, asked: .urgent) == .guest)
    #expect(told(from: 1, .normal, asked: .important) == .normal)
  }

  @Test("on another host it is in the background, whatever its packets say")
  func remote() {
    for own in [Priority.urgent, .important, .normal, .background, .guest] {
      #expect(told(from: 0, own) == own.onOtherHost)
      #expect(told(from: 0, own, knowsPrincipals: false) == own.onOtherHost)
      #expect(told(from: 0, own, isDatagram: true) == own.onOtherHost)
    }
    #expect(told(from: 0, .urgent, asked: .guest) == .guest)
  }

  @Test("every packet of a request and of its response has the request's priority")
  func packets() {
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let (server, _) = startCounter(moa)
    let warm = sendMany(1, from: kea, to: server, bytes: { _ in 0 }, check: { _, _, _ in })
    simulator.run(for: .seconds(1)) { warm.value == 1 }
    var seen: [UInt8] = []
    simulator.dropsPacket = { packet in
      seen.append(packet[15] >> 4)
      return false
    }
    let client = kea.makeClient(ClientUser("ann", marks: [], priority: .guest))
    kea.send(
      Message(MessageControlBlock(code: 1), segment: [UInt8](repeating: 1, count: 3000)),
      from: client, to: server, options: SendOptions()
    ) { #expect($0.code == .ok) }
    simulator.run(for: .seconds(1))
    // BeginTransaction and its answer are of the kernels.
    #expect(seen.drop { $0 == 0 }.prefix(6) == [7, 7, 7, 7, 7, 7])
  }
}
