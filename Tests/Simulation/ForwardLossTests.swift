import NetworkFaults
import Testing
import VNode
import VProtocol
import VRuntime

/// A client of kea, a server of moa that forwards its requests, and one of tui that answers them
/// with their length.
private struct Chain {
  let simulator: Simulator
  let kea: Node
  let moa: Node
  let tui: Node
  let first: EntityID
  let last: EntityID
  let client: EntityID
  let executions = Shared(0)

  init(
    seed: UInt64, secret: [UInt8]? = nil, takes span: TimeSpan = .microseconds(1),
    isKnown: Bool = true
  ) throws {
    simulator = Simulator(seed: seed)
    kea = simulator.start("kea", secret: secret)
    moa = simulator.start("moa", secret: secret)
    tui = simulator.start("tui", secret: secret)
    let executions = executions
    let last = tui.makeServer(knowsPrincipals: true) { [unowned tui] request in
      executions.value += 1
      tui.after(span) {
        var mcb = MessageControlBlock()
        mcb[3] = UInt32(request.message.segment.count)
        tui.reply(Message(mcb), to: request)
      }
    }
    self.last = last
    first = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.forward(request, request.message, to: last)
    }
    client = kea.makeClient(user: "ann")
    guard isKnown else { return }
    let response = try #require(outcome(simulator, start(9)))
    #expect(response.message.mcb[3] == 9)
    executions.value = 0
  }

  /// One call with a segment.
  func start(
    _ octets: Int, to target: EntityID? = nil
  ) -> (@escaping @Sendable (Response) -> Void) -> Void {
    { completion in
      kea.send(
        Message(MessageControlBlock(code: 0x7701), segment: [UInt8](repeating: 5, count: octets)),
        from: client, to: target ?? first, options: SendOptions(), completion: completion)
    }
  }
}

@Suite("Forward over a bad network, in the simulator")
struct ForwardLossTests {
  @Test("W1: a forwarded call is three packets, and the second server answers in its own name")
  func threePackets() throws {
    let chain = try Chain(seed: 1)
    let seen = Shared<[PacketHeader]>([])
    chain.simulator.dropsPacket = { packet in
      if let header = header(of: packet) { seen.value.append(header) }
      return false
    }
    let response = try #require(outcome(chain.simulator, chain.start(0)))
    #expect(response.server == chain.last)
    #expect(seen.value.map(\.function) == [.request, .request, .response])
    #expect(seen.value.map(\.server) == [chain.first, chain.last, chain.last])
    #expect(seen.value.map(\.forwardCount) == [0, 1, 1])
  }

  @Test("W2: any one packet of a forwarded call is lost: it is answered, and done once")
  func eachPacketLost() throws {
    for (isKnown, lost) in (0..<20).flatMap({ [(false, $0), (true, $0)] }) {
      let chain = try Chain(seed: 2, isKnown: isKnown)
      let count = Shared(0)
      chain.simulator.dropsPacket = { _ in
        count.value += 1
        return count.value == lost + 1
      }
      for call in 1...3 {
        let response = try #require(outcome(chain.simulator, chain.start(700)))
        #expect(response.message.mcb[3] == 700, "packet \(lost), \(isKnown)")
        #expect(chain.executions.value == call, "packet \(lost), \(isKnown)")
      }
    }
  }

  @Test("W7: a 16 KB request is forwarded with APG, and the forwarder sends what is lost of it")
  func largeRequest() throws {
    var generator = SeededGenerator(seed: 3)
    let chain = try Chain(seed: 3)
    for call in 1...100 {
      let lost = generator.next()
      let counts = Shared([Int](repeating: 0, count: 16))
      let isAsking = Shared(true)
      chain.simulator.dropsPacket = { packet in
        guard let header = header(of: packet), header.server == chain.last,
          header.function == .request
        else { return false }
        if !header.control.contains(.acknowledge) { isAsking.value = false }
        guard !header.delivery.isEmpty else { return false }
        let index = header.delivery.rawValue.trailingZeroBitCount / 2
        counts.value[index] += 1
        return counts.value[index] == 1 && lost >> UInt64(index) & 1 == 1
      }
      let response = try #require(outcome(chain.simulator, chain.start(16_384)))
      #expect(response.message.mcb[3] == 16_384)
      #expect(chain.executions.value == call)
      #expect(isAsking.value)
      for (index, count) in counts.value.enumerated() {
        let isLost = lost >> UInt64(index) & 1 == 1
        #expect(isLost ? count > 1 : count == 1, "packet \(index) was sent \(count) times")
      }
    }
  }

  @Test(
    "W3: a call may be forwarded to a server that had it before, and to the client's own host",
    arguments: seeds)
  func thereAndBack(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let (kea, moa, tui) = (
      simulator.start("kea"), simulator.start("moa"), simulator.start("tui")
    )
    let visits = Shared<[String]>([])
    let here = kea.makeServer(knowsPrincipals: true) { [unowned kea] request in
      visits.value.append("kea \(request.forwardCount)")
      kea.reply(Message(reply: .ok), to: request)
    }
    let there = Shared(EntityID.none)
    let middle = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      visits.value.append("moa \(request.forwardCount)")
      let target = request.forwardCount == 0 ? there.value : here
      moa.forward(request, request.message, to: target)
    }
    there.value = tui.makeServer(knowsPrincipals: true) { [unowned tui] request in
      visits.value.append("tui \(request.forwardCount)")
      tui.forward(request, request.message, to: middle)
    }
    // In the first call the kernels learn of each other, and no packet is lost in it.
    let client = kea.makeClient(user: "ann")
    for loss in [0, 10, 10, 10] {
      simulator.faults = Faults(loss: loss, duplication: loss, reordering: loss)
      visits.value = []
      let answer: Response? = outcome(simulator) { completion in
        kea.send(
          Message(MessageControlBlock(code: 1)), from: client, to: middle, options: SendOptions(),
          completion: completion)
      }
      let response = try #require(answer, "V_SEED=\(seed)")
      #expect(response.code == .ok, "V_SEED=\(seed)")
      #expect(visits.value == ["moa 0", "tui 1", "moa 2", "kea 3"], "V_SEED=\(seed)")
    }
  }

  @Test("W3: a call that was forwarded back is worked on for long, and its client is told so")
  func thereAndBackSlowly() {
    let simulator = Simulator(seed: 4)
    let (kea, moa, tui) = (
      simulator.start("kea"), simulator.start("moa"), simulator.start("tui")
    )
    let there = Shared(EntityID.none)
    let visits = Shared(0)
    let middle = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      visits.value += 1
      guard request.forwardCount > 0 else {
        return moa.forward(request, request.message, to: there.value)
      }
      moa.after(.seconds(8)) { moa.reply(Message(reply: .ok), to: request) }
    }
    there.value = tui.makeServer(knowsPrincipals: true) { [unowned tui] request in
      tui.forward(request, request.message, to: middle)
    }
    let told = Shared(0)
    simulator.dropsPacket = { packet in
      if notification(in: packet) == .ok { told.value += 1 }
      return false
    }
    let response: Response? = outcome(simulator) { completion in
      kea.send(
        Message(MessageControlBlock(code: 1)), from: kea.makeClient(user: "ann"), to: middle,
        options: SendOptions(), completion: completion)
    }
    #expect(response?.code == .ok)
    #expect(visits.value == 2)
    // It asks the kernel that it knows, every 0.5 s in the end.
    #expect(told.value > 10)
  }

  @Test("W5: a sealed request is forwarded like any other", arguments: seeds)
  func sealed(seed: UInt64) throws {
    let chain = try Chain(seed: seed, secret: [UInt8](repeating: 7, count: 32))
    chain.simulator.faults = Faults(loss: 10, duplication: 5, reordering: 10)
    for call in 1...3 {
      let response = try #require(outcome(chain.simulator, chain.start(3000)))
      #expect(response.server == chain.last, "V_SEED=\(seed)")
      #expect(response.message.mcb[3] == 3000, "V_SEED=\(seed)")
      #expect(chain.executions.value == call, "V_SEED=\(seed)")
    }
  }

  @Test("W5: a member of a group forwards a request to it, and the client has one answer")
  func ofGroup() throws {
    let chain = try Chain(seed: 5)
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    chain.moa.join(chain.first, group: group)
    for call in 1...3 {
      let response = try #require(outcome(chain.simulator, chain.start(3000, to: group)))
      #expect(response.server == chain.last)
      #expect(response.message.mcb[3] == 3000)
      #expect(chain.executions.value == call)
    }
  }

  @Test(
    "W6: the forwarder crashes: its client has one result, which is right or says what is known",
    arguments: [false, true])
  func forwarderCrashes(isLost: Bool) throws {
    let chain = try Chain(seed: 6, takes: .milliseconds(300))
    let codes = Shared<[ReplyCode]>([])
    let isForwarded = Shared(false)
    chain.simulator.dropsPacket = { packet in
      guard header(of: packet)?.forwardCount == 1 else { return false }
      isForwarded.value = true
      return isLost
    }
    chain.start(0)({ codes.value.append($0.code) })
    chain.simulator.run(for: .seconds(1)) { isForwarded.value }
    chain.simulator.crash("moa")
    chain.simulator.run(for: .seconds(30))
    #expect(codes.value == [isLost ? .retransmissionTimeout : .ok])
    #expect(chain.executions.value == (isLost ? 0 : 1))
  }
}
