import Testing
import VNode
import VProtocol
import VRuntime

@Suite("Masks of blocks (MDM) in the simulator", .timeLimit(.minutes(2)))
struct MaskTests {
  private static let code: UInt32 = 0x7701
  /// 32 blocks, each of another octet.
  private static let segment = (0..<16_384).map { UInt8($0 / 512 + 1) }

  /// A message that asks for some blocks of a response, or has some of a segment.
  private static func message(_ mask: DeliveryMask, segment: [UInt8] = []) -> Message {
    var mcb = MessageControlBlock(code: code)
    mcb.delivery = mask
    return Message(mcb, segment: segment)
  }

  /// The header of a clear packet.
  private static func header(_ packet: [UInt8]) -> PacketHeader? {
    try? PacketHeader(parsing: packet.span.bytes, bodyBytes: packet.count - 4)
  }

  private static func startReader(
    _ node: Node, knowsPrincipals: Bool, _ executions: Shared<Int>
  ) -> EntityID {
    node.makeServer(knowsPrincipals: knowsPrincipals) { [unowned node] request in
      executions.value += 1
      node.reply(Message(MessageControlBlock(), segment: segment), to: request)
    }
  }

  private func ask(
    _ simulator: Simulator, _ node: Node, _ server: EntityID, _ message: Message
  ) -> Response? {
    outcome(simulator) { completion in
      node.send(
        message, from: node.makeClient(user: "ann"), to: server, options: SendOptions(),
        completion: completion)
    }
  }

  /// Whether each block has what was sent, or nothing.
  private func isSound(_ segment: [UInt8], _ mask: DeliveryMask) -> Bool {
    segment.indices.allSatisfy {
      let isThere = mask.rawValue >> UInt32($0 / 512) & 1 != 0
      return segment[$0] == (isThere ? Self.segment[$0] : 0)
    }
  }

  @Test("L6: only the blocks that are asked for are sent", arguments: [true, false])
  func wanted(knowsPrincipals: Bool) {
    let simulator = Simulator(seed: 1)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let server = Self.startReader(moa, knowsPrincipals: knowsPrincipals, Shared(0))
    let sent = Shared<[UInt32]>([])
    simulator.dropsPacket = { packet in
      if let header = Self.header(packet), header.function == .response, header.server == server {
        sent.value.append(header.delivery.rawValue)
      }
      return false
    }
    let wanted = DeliveryMask(rawValue: 0x74FF)
    let response = ask(simulator, kea, server, Self.message(wanted))
    #expect(sent.value == [0x3, 0xC, 0x30, 0xC0, 0x1400, 0x6000])
    #expect(response?.message.mcb.delivery == wanted)
    #expect(response.map { isSound($0.message.segment, wanted) } == true)
    // The same on one host, without packets.
    #expect(ask(simulator, moa, server, Self.message(wanted))?.message.mcb.delivery == wanted)
  }

  @Test(
    "L6: of an idempotent response the client gets what came, and repairs the holes by asking again"
  )
  func repaired() {
    let simulator = Simulator(seed: 2)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let executions = Shared(0)
    let server = Self.startReader(moa, knowsPrincipals: false, executions)
    // Every third packet of a response is lost; nothing is asked for again by the kernels.
    let responses = Shared(0)
    let notifies = Shared(0)
    simulator.dropsPacket = { packet in
      guard let header = Self.header(packet) else { return false }
      if header.mcb.code == Management.notifyServer { notifies.value += 1 }
      guard header.function == .response, header.server == server else { return false }
      responses.value += 1
      return responses.value % 3 == 0
    }
    var missing = DeliveryMask(rawValue: .max)
    var found = [UInt8](repeating: 0, count: Self.segment.count)
    var questions = 0
    while !missing.isEmpty && questions < 20 {
      questions += 1
      guard let message = ask(simulator, kea, server, Self.message(missing))?.message,
        let came = message.mcb.delivery
      else { break }
      #expect(isSound(message.segment, came) && missing.contains(came))
      came.forEachBlock(segmentBytes: found.count) { found[$0] = message.segment[$0] }
      missing.subtract(came)
    }
    #expect(found == Self.segment)
    #expect(questions > 1 && executions.value == questions)
    // 16 packets, and again the third of them that was lost, and so on.
    #expect(responses.value < 28)
    #expect(notifies.value == 0)
  }

  @Test("L6: without a mask, or where the response is kept, the client gets the whole response")
  func whole() {
    for (knowsPrincipals, mask) in [(false, nil), (true, DeliveryMask(rawValue: .max))] {
      let simulator = Simulator(seed: 3)
      let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
      let server = Self.startReader(moa, knowsPrincipals: knowsPrincipals, Shared(0))
      var lost = 0
      simulator.dropsPacket = { packet in
        guard let header = Self.header(packet), header.function == .response,
          header.server == server, header.delivery.rawValue == 0x30, lost < 2
        else { return false }
        lost += 1
        return true
      }
      var message = Message(MessageControlBlock(code: Self.code))
      message.mcb.delivery = mask
      #expect(ask(simulator, kea, server, message)?.message.segment == Self.segment)
      #expect(lost == 2)
    }
  }

  @Test(
    "L11: a part of a datagram is delivered with a mask and dropped without; nothing is repaired",
    arguments: [true, false])
  func datagram(isForGroup: Bool) {
    for (hasMask, losesPacket) in [(true, true), (true, false), (false, true), (false, false)] {
      let simulator = Simulator(seed: 4)
      let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
      let heard = Shared<[Message]>([])
      let members = (0..<(isForGroup ? 2 : 1)).map { index in
        moa.makeServer(knowsPrincipals: index == 0) { heard.value.append($0.message) }
      }
      let group = EntityID(group: 77, low: 7, isUnrestricted: true)
      for member in members { moa.join(member, group: group) }
      moa.announce()
      simulator.run(for: .seconds(1))
      let notifies = Shared(0)
      let wanted = DeliveryMask(rawValue: hasMask ? 0x0F0F : .max)
      let lost: UInt32 = hasMask ? 0x0C : 0x30
      simulator.dropsPacket = { packet in
        guard let header = Self.header(packet) else { return false }
        if header.mcb.code == Management.notifyClient { notifies.value += 1 }
        return losesPacket && header.mcb.code == Self.code && header.delivery.rawValue == lost
      }
      var message = Message(MessageControlBlock(code: Self.code), segment: Self.segment)
      if hasMask { message.mcb.delivery = wanted }
      kea.sendDatagram(
        message, from: kea.makeClient(user: "ann"), to: isForGroup ? group : members[0])
      simulator.run(for: .seconds(20))
      let came = losesPacket ? wanted.subtracting(DeliveryMask(rawValue: lost)) : wanted
      let isTaken = hasMask || !losesPacket
      #expect(heard.value.count == (isTaken ? members.count : 0))
      #expect(
        heard.value.allSatisfy {
          $0.mcb.delivery == (hasMask ? came : nil) && isSound($0.segment, came)
        })
      #expect(notifies.value == 0)
    }
  }

  @Test("L4: of a request with a mask only the blocks in it are sent, and a lost one again")
  func request() {
    let simulator = Simulator(seed: 5)
    let (kea, moa) = (simulator.start("kea"), simulator.start("moa"))
    let heard = Shared<[Message]>([])
    let server = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      heard.value.append(request.message)
      moa.reply(Message(reply: .ok), to: request)
    }
    let sent = Shared<[UInt32]>([])
    simulator.dropsPacket = { packet in
      guard let header = Self.header(packet), header.mcb.code == Self.code else { return false }
      if !header.delivery.isEmpty { sent.value.append(header.delivery.rawValue) }
      return sent.value.count == 2
    }
    let mask = DeliveryMask(rawValue: 0xC3)
    let response = ask(simulator, kea, server, Self.message(mask, segment: Self.segment))
    #expect(response?.code == .ok)
    #expect(heard.value.map(\.mcb.delivery) == [mask])
    #expect(isSound(heard.value[0].segment, mask))
    #expect(sent.value.prefix(3) == [0x03, 0xC0, 0xC0])
    #expect(sent.value.dropFirst(3).allSatisfy { $0 == 0xC0 })
  }
}
