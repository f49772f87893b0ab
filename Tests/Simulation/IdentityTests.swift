import Testing
import VDirectory
import VFileServer
import VNode
import VProtocol
import VRuntime

@Suite("Identity of clients, in the simulator")
struct IdentityTests {
  @Test("no request has its client's principal: the client's kernel tells it, once, before that")
  func probe() {
    let simulator = Simulator(seed: 31)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let principals = Shared<[String]>([])
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      principals.value.append(request.principal.map { "\($0)" } ?? "-")
      moa.reply(Message(reply: .ok), to: request)
    }
    // Clear packets, so that they can be inspected.
    let name = Array("ann@kea".utf8)
    let telling = Shared<[EntityID]>([])
    simulator.dropsPacket = { packet in
      let isTelling = packet.indices.contains { packet[$0...].starts(with: name) }
      let bodyBytes = packet.count - Checksum.byteCount
      if isTelling,
        let header = try? PacketHeader(parsing: packet.span.bytes, bodyBytes: bodyBytes)
      {
        telling.value.append(header.client)
      }
      return false
    }
    let client = kea.makeClient(user: "ann")
    let answers = Shared(0)
    for count in 1...3 {
      kea.send(
        Message(MessageControlBlock(code: 0x7701)), from: client, to: server,
        options: SendOptions()
      ) { _ in answers.value += 1 }
      #expect(simulator.run(for: .seconds(1)) { answers.value == count })
    }
    #expect(principals.value == ["ann@kea", "ann@kea", "ann@kea"])
    #expect(telling.value == [.manager(of: kea.id)])
  }

  @Test("an operation that a manager does not know is refused as such by every one of them")
  func unknownOperation() throws {
    let simulator = Simulator(seed: 32)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(2))
    let found = outcome(simulator) { kea.walk("storage/moa", $0) }
    guard case .done(_, let fileServer) = found else {
      Issue.record("moa's file server was not found")
      return
    }
    let managers: [EntityID] = [
      kea.directory.server, moa.directory.server, fileServer, .manager(of: kea.node.id),
      .manager(of: moa.node.id),
    ]
    for manager in managers {
      for code: UInt32 in [0, 1, 0x0010FF, 0x0011FF, 0x00100C, 0x123456, 0xFFFFFF] {
        let client = kea.node.makeClient(user: "root")
        let answer = outcome(simulator) { (completion: @escaping @Sendable (ReplyCode) -> Void) in
          kea.node.send(
            Message(MessageControlBlock(code: code), segment: [1, 2, 3]), from: client, to: manager,
            options: SendOptions()
          ) { completion($0.code) }
        }
        #expect(answer == .illegalRequest, "\(String(code, radix: 16)) at \(manager)")
      }
    }
  }

  @Test("names longer than a name may be, or than their segment, are bad arguments")
  func longName() throws {
    let simulator = Simulator(seed: 33)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(2))
    for length: UInt32 in [4, 4097, 0xFFFF] {
      var mcb = MessageControlBlock(code: QueryObject.code)
      mcb.setPair(1, kea.directory.nameSpace.root.rawValue)
      mcb[3] = length
      let message = Message(mcb, segment: [UInt8](repeating: UInt8(ascii: "n"), count: 3))
      let client = kea.node.makeClient(user: "root")
      let answer = outcome(simulator) { (completion: @escaping @Sendable (ReplyCode) -> Void) in
        kea.node.send(
          message, from: client, to: kea.directory.server, options: SendOptions()
        ) { completion($0.code) }
      }
      #expect(answer == .badArguments, "\(length)")
    }
  }
}
