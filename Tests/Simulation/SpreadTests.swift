import Testing
import VNode
import VProtocol
import VRuntime

@Suite("Answers of a group that are spread (DRT)", .timeLimit(.minutes(2)))
struct SpreadTests {
  private static let group = EntityID(group: 77, low: 7, isUnrestricted: true)

  /// Asks a group with a member on each of `count` other hosts, which know each other; returns when
  /// each answer came, and how many requests were carried out in all.
  private func ask(
    _ count: Int, knowsPrincipals: Bool, spreads: Bool = true, losesAnswers: Bool = false
  ) -> (answers: [EntityID: Int64], repeated: Int, executions: Int) {
    let simulator = Simulator(seed: 1)
    let nodes = (0...count).map { simulator.start("host\($0)") }
    let executions = Shared(0)
    for node in nodes.dropFirst() {
      let member = node.makeServer(knowsPrincipals: knowsPrincipals) { [unowned node] request in
        executions.value += 1
        node.reply(
          Message(MessageControlBlock(), segment: [UInt8](repeating: 1, count: 900)), to: request)
      }
      node.join(member, group: Self.group)
    }
    for node in nodes { node.announce() }
    simulator.run(for: .seconds(1))
    let asker = nodes[0]
    let start = asker.now
    let responses = Shared<[EntityID: Int]>([:])
    simulator.dropsPacket = { packet in
      guard let header = try? PacketHeader(parsing: packet.span.bytes, bodyBytes: packet.count - 4),
        header.function == .response, header.mcb.segmentSize == 900
      else { return false }
      responses.value[header.server, default: 0] += 1
      return losesAnswers && responses.value[header.server] == 1
    }
    let answers = Shared<[EntityID: Int64]>([:])
    let twice = Shared(0)
    let end = Shared<ReplyCode?>(nil)
    asker.send(
      Message(MessageControlBlock(code: 0x7701)), from: asker.makeClient(user: "ann"),
      to: Self.group,
      options: SendOptions(
        timeLimit: .milliseconds(200), collectsResponses: true, spreadsResponses: spreads)
    ) { [unowned asker] response in
      guard response.code.isOK else {
        end.value = response.code
        return
      }
      let after = (asker.now - start).nanoseconds
      if answers.value.updateValue(after, forKey: response.server) != nil { twice.value += 1 }
    }
    simulator.run(for: .seconds(1)) { end.value != nil }
    #expect(end.value == .userTimeout && twice.value == 0)
    return (answers.value, responses.value.values.count { $0 > 1 }, executions.value)
  }

  /// The most answers in any span of 2 ms.
  private func mostAtOnce(_ answers: [EntityID: Int64]) -> Int {
    answers.values.map { start in
      answers.values.count { start <= $0 && $0 < start + 2_000_000 }
    }.max() ?? 0
  }

  @Test("G2: 50 members answer once each, spread over 40 ms", arguments: [true, false])
  func many(knowsPrincipals: Bool) {
    let (answers, _, executions) = ask(50, knowsPrincipals: knowsPrincipals)
    #expect(answers.count == 50)
    #expect(mostAtOnce(answers) <= 10)
    let times = answers.values.sorted()
    #expect(times[49] - times[0] > 30_000_000 && times[49] < 50_000_000)
    // No member was asked again before its time was over.
    if knowsPrincipals { #expect(executions == 50) }
  }

  @Test("G2: answers that are repeated are spread as well", arguments: [true, false])
  func repeated(knowsPrincipals: Bool) {
    let (answers, repeated, _) = ask(50, knowsPrincipals: knowsPrincipals, losesAnswers: true)
    #expect(answers.count == 50 && repeated == 50)
    #expect(mostAtOnce(answers) <= 10)
  }

  @Test("G2: one that wants the first to answer, or has few to ask, does not wait")
  func few() {
    for (count, spreads) in [(50, false), (3, true)] {
      let (answers, _, _) = ask(count, knowsPrincipals: true, spreads: spreads)
      #expect(answers.count == count)
      #expect(mostAtOnce(answers) == count)
    }
  }
}
