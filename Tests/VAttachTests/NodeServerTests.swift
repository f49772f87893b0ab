import Testing
import VAttach
import VNode
import VProtocol
import VRuntime

@Suite("Node server", .timeLimit(.minutes(1)))
struct NodeServerTests {
  let cluster = Cluster.shared

  private func ask<Op: Operation>(_ operation: Op, of kernel: KernelID) throws -> Answer<Op.Answer>
  {
    let process = try Door(cluster.kea).attach()
    defer { process.close() }
    return process.sendAndWait(
      operation, from: process.makeClient(user: "ann"), to: .nodeServer(of: kernel),
      options: SendOptions(timeLimit: .seconds(10)))
  }

  private func code(_ answer: Answer<some Sendable>) -> ReplyCode {
    if case .refused(let refusal) = answer { refusal.code } else { .ok }
  }

  @Test("is found by the name of its host, without a table")
  func find() throws {
    let process = try Door(cluster.kea).attach()
    defer { process.close() }
    let client = process.makeClient(user: "ann")
    for (host, kernel) in [("kea", cluster.kea.id), ("moa", cluster.moa.id)] {
      let answer = process.sendAndWait(
        FindNode(host: host), from: client, to: .nodeGroup,
        options: SendOptions(timeLimit: .seconds(2)))
      guard case .done(let found, _) = answer else {
        Issue.record("\(host): \(code(answer))")
        continue
      }
      #expect(found.server == .nodeServer(of: kernel) && found.host == host)
      #expect(abs(found.wallClock - process.wallClock) < 60_000_000_000)
    }
    #expect(code(try ask(FindNode(host: "tui"), of: cluster.moa.id)) == .notFound)
  }

  @Test("times Sends to another host, to its own and to one entity")
  func ping() throws {
    let targets: [MeasureSends.Target] = [
      .host("moa"), .host("kea"), .entity(.nodeServer(of: cluster.moa.id)),
    ]
    for target in targets {
      let answer = try ask(
        MeasureSends(target: target, count: 200, limitMilliseconds: 5000), of: cluster.kea.id)
      guard case .done(let result, _) = answer else {
        Issue.record("\(target): \(code(answer))")
        continue
      }
      #expect(result.count == 200 && result.lost == 0 && result.code == .ok)
      #expect(result.minimum > 0 && result.minimum <= result.median)
      #expect(result.median <= result.percentile99)
      #expect(result.percentile99 <= result.maximum)
    }
  }

  @Test("times Sends that carry octets there, or back")
  func segments() throws {
    for (there, back) in [(16_384, 0), (0, 16_384), (1, 1)] {
      var operation = MeasureSends(target: .host("moa"), count: 20, limitMilliseconds: 5000)
      operation.requestBytes = there
      operation.answerBytes = back
      guard case .done(let result, _) = try ask(operation, of: cluster.kea.id) else {
        Issue.record("not answered")
        continue
      }
      #expect(result.count == 20 && result.lost == 0)
    }
    let echo = EchoSegment(answerBytes: 5, data: [1, 2, 3])
    guard case .done(let answer, _) = try ask(echo, of: cluster.moa.id) else {
      Issue.record("not answered")
      return
    }
    #expect(answer.data == [0, 0, 0, 0, 0])
  }

  @Test("reports an unknown host, and measures only for its own host")
  func refusals() throws {
    let nowhere = MeasureSends(target: .host("tui"), count: 1, limitMilliseconds: 300)
    #expect(code(try ask(nowhere, of: cluster.kea.id)) == .notFound)
    #expect(code(try ask(nowhere, of: cluster.moa.id)) == .noPermission)
    let tooMany = MeasureSends(target: .host("moa"), count: 100_001, limitMilliseconds: 300)
    #expect(code(try ask(tooMany, of: cluster.kea.id)) == .badArguments)
  }

  @Test("counts Sends without an answer as lost and ends at the time limit")
  func lost() throws {
    let gone = EntityID(kernel: cluster.moa.id, discriminator: 9)
    let answer = try ask(
      MeasureSends(target: .entity(gone), count: 5, limitMilliseconds: 2000),
      of: cluster.kea.id)
    guard case .done(let result, _) = answer else {
      Issue.record("\(code(answer))")
      return
    }
    #expect(result.lost == result.count && result.code == .nonexistentEntity)
    let unknown = EntityID(kernel: KernelID(0x0102_0304), discriminator: 2)
    let slow = try ask(
      MeasureSends(target: .entity(unknown), count: 5, limitMilliseconds: 300),
      of: cluster.kea.id)
    guard case .done(let result, _) = slow else {
      Issue.record("\(code(slow))")
      return
    }
    #expect(result.lost == result.count && result.count < 5 && result.code == .userTimeout)
  }

  @Test("reports the node and its peers by name")
  func status() throws {
    _ = try ask(PingNode(), of: cluster.moa.id)
    guard case .done(let answer, _) = try ask(QueryNode(), of: cluster.kea.id) else {
      Issue.record("not answered")
      return
    }
    let lines = answer.text.split(separator: "\n").map(String.init)
    #expect(lines.contains("host kea"))
    #expect(lines.contains("kernel \(cluster.kea.id)"))
    #expect(lines.contains("sealing sealed"))
    let peer = lines.first { $0.hasPrefix("peer \(cluster.moa.id) moa 127.0.0.1:") }
    #expect(peer?.contains(" alive ") == true)
    // Both have the same clock.
    #expect(peer?.split(separator: " ").last.flatMap { Int($0) }.map { abs($0) < 60_000 } == true)
  }

  @Test("takes the median and the 99th percentile by nearest rank")
  func percentiles() {
    var one: [UInt32] = [5]
    let single = MeasureSends.Answer(samples: &one, lost: 2, code: .ok)
    #expect([single.minimum, single.median, single.percentile99, single.maximum] == [5, 5, 5, 5])
    #expect(single.count == 3)
    var many = (1...200).map { UInt32($0) }.shuffled()
    let answer = MeasureSends.Answer(samples: &many, lost: 0, code: .ok)
    #expect([answer.minimum, answer.median] == [1, 100])
    #expect([answer.percentile99, answer.maximum] == [198, 200])
    #expect((try? MeasureSends.Answer(parsing: answer.message)) == answer)
  }
}
