import Testing
import VKernel
import VNode
import VProtocol
import VRuntime

/// Members of one group, on hosts of their own, which answer with the octets that they got.
private struct Members {
  let simulator: Simulator
  let kea: Node
  let members: [EntityID]
  let executions = Shared<[EntityID: Int]>([:])
  static let group = EntityID(group: 77, low: 7, isUnrestricted: true)

  init(seed: UInt64, _ count: Int) {
    simulator = Simulator(seed: seed)
    kea = simulator.start("kea")
    var members: [EntityID] = []
    for index in 0..<count {
      let node = simulator.start("h\(index)")
      let executions = executions
      let member = node.makeServer(knowsPrincipals: true) { [unowned node] request in
        executions.value[request.server, default: 0] += 1
        let segment = request.message.segment
        node.reply(Message(MessageControlBlock(), segment: segment), to: request)
      }
      node.join(member, group: Self.group)
      members.append(member)
    }
    self.members = members
  }

  /// The responses to one request to all members, and the code of its end.
  func collect(
    _ segment: [UInt8] = [], within limit: TimeSpan = .seconds(1)
  ) -> (responses: [Response], end: ReplyCode?) {
    let responses = Shared<[Response]>([])
    let end = Shared<ReplyCode?>(nil)
    kea.send(
      Message(MessageControlBlock(code: 1), segment: segment), from: kea.makeClient(user: "ann"),
      to: Self.group, options: SendOptions(timeLimit: limit, collectsResponses: true)
    ) { response in
      if response.code.isOK {
        responses.value.append(response)
      } else {
        end.value = response.code
      }
    }
    simulator.run(for: limit + .seconds(1)) { end.value != nil }
    return (responses.value, end.value)
  }

  func expectEachOnce(_ responses: [Response]) {
    #expect(responses.count == members.count)
    #expect(Set(responses.map(\.server)) == Set(members))
    #expect(executions.value.count == members.count)
    #expect(executions.value.values.allSatisfy { $0 == 1 })
  }
}

@Suite("Groups over a bad network, in the simulator")
struct GroupLossTests {
  @Test("G2: each of one or fifty members answers once, then the time limit ends the call")
  func counts() {
    for count in [1, 50] {
      let all = Members(seed: 1, count)
      let start = all.simulator.now
      let (responses, end) = all.collect()
      all.expectEachOnce(responses)
      #expect(end == .userTimeout)
      #expect(all.simulator.now - start == .seconds(1))
    }
  }

  @Test("G4: the first response of each member is lost: it repeats it, and does nothing twice")
  func responsesLost() {
    let all = Members(seed: 2, 5)
    let sent = Shared<[EntityID: Int]>([:])
    all.simulator.dropsPacket = { packet in
      guard let header = header(of: packet), header.function == .response,
        all.members.contains(header.server)
      else { return false }
      sent.value[header.server, default: 0] += 1
      return sent.value[header.server] == 1
    }
    all.expectEachOnce(all.collect().responses)
    #expect(sent.value.values.allSatisfy { $0 > 1 })
  }

  @Test("G5: a call that wants one response takes the first, and drops the others in silence")
  func firstResponse() {
    let all = Members(seed: 3, 5)
    let answers = Shared(0)
    let client = all.kea.makeClient(user: "ann")
    all.kea.send(
      Message(MessageControlBlock(code: 1)), from: client, to: Members.group,
      options: SendOptions()
    ) { response in
      #expect(response.code == .ok)
      answers.value += 1
    }
    all.simulator.run(for: .seconds(4))
    #expect(answers.value == 1)
    #expect(all.executions.value.count == 5)
    #expect(all.kea.counters.notifiesSent == 0)
  }

  @Test("G6: a member that misses a part of a request gets it, and no member does it twice")
  func requestPartLost() {
    let all = Members(seed: 4, 3)
    // The second packet does not reach the second member.
    let copies = Shared(0)
    all.simulator.dropsPacket = { packet in
      guard let header = header(of: packet), header.server == Members.group,
        header.retransmitCount == 0, header.delivery == DeliveryMask(rawValue: 0b1100)
      else { return false }
      copies.value += 1
      return copies.value == 2
    }
    let segment = [UInt8](repeating: 3, count: 3000)
    let (responses, _) = all.collect(segment)
    #expect(copies.value >= 3)
    all.expectEachOnce(responses)
    #expect(responses.allSatisfy { $0.message.segment == segment })
  }
}
