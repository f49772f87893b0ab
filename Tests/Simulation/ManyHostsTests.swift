import Foundation
import Testing
import VDirectory
import VProtocol
import VRuntime

/// A cluster of many directories; V_DIRECTORIES sets their number, and 1000 is the number to try.
@Suite("A thousand hosts in the simulator", .serialized)
struct ManyHostsTests {
  private static let count =
    ProcessInfo.processInfo.environment["V_DIRECTORIES"].flatMap { Int($0) } ?? 250
  private static let kinds = ["host", "storage"]

  /// Hosts that start within ten seconds, each with two prefixes.
  private func start(
    _ network: LightNetwork, _ count: Int, refused: Shared<[String]>
  ) -> [LightHost] {
    (0..<count).map { number in
      network.simulator.run(for: TimeSpan(nanoseconds: 10_000_000_000 / Int64(count)))
      let host = network.start("h\(number)")
      host.claim(Self.kinds.map { "\($0)/h\(number)" }) { prefix, _ in
        refused.value.append(prefix)
      }
      return host
    }
  }

  /// Asks a host's own directory; nil without an answer.
  private func ask<Op: VProtocol.Operation>(
    _ operation: Op, _ host: LightHost, _ simulator: Simulator
  ) -> Op.Answer? {
    let answer: Answer<Op.Answer>? = outcome(simulator) { completion in
      host.send(
        operation, from: host.makeClient("root"), to: host.directory.server,
        completion: completion)
    }
    guard case .done(let value, _) = answer else { return nil }
    return value
  }

  /// The names in a shared context, and the number of blocks that they came in.
  private func list(
    _ path: String, _ host: LightHost, _ simulator: Simulator
  ) -> (names: Set<String>, blocks: Int) {
    let name = ContextName(.none, Array(path.utf8))
    guard let opened = ask(CreateInstance(name, mode: [.read, .directory]), host, simulator) else {
      return ([], 0)
    }
    var (names, blocks, position) = (Set<String>(), 0, UInt64(0))
    while let block = ask(
      ReadInstance(opened.instance, position: position, count: 16_384), host, simulator),
      !block.data.isEmpty
    {
      blocks += 1
      var reader = SegmentReader(block.data)
      while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
        #expect(names.insert(String(decoding: record.name, as: UTF8.self)).inserted)
        #expect(record.nextPosition > position)
        position = record.nextPosition
      }
    }
    return (names, blocks)
  }

  @Test("come to one table, keep it with a packet each in half a minute, change it with a few")
  func thousand() throws {
    let simulator = Simulator(seed: 61)
    let network = LightNetwork(simulator)
    network.loss = 1
    let count = Self.count
    let refused = Shared<[String]>([])
    let hosts = start(network, count, refused: refused)
    // A packet each of the claims, three repetitions, some digests: of a whole table there is none.
    #expect(network.multicasts < 15 * count)
    #expect(network.multicastOctets < 15 * 600 * count)
    simulator.run(for: .seconds(40))
    #expect(refused.value.isEmpty)
    #expect(
      hosts.allSatisfy { $0.directory.claimCounts.known == Self.kinds.count * count })
    #expect(hosts.allSatisfy { $0.directory.digest == hosts[0].directory.digest })
    var before = (network.multicasts, network.multicastOctets, network.requests)
    simulator.run(for: .seconds(30))
    #expect(network.multicasts - before.0 == count)
    #expect(network.multicastOctets - before.1 <= 1024 * count)
    #expect(network.requests - before.2 == 0)

    let (names, blocks) = list("storage", hosts[count / 2], simulator)
    #expect(names == Set((0..<count).map { "h\($0)" } + ["self", "any"]))
    #expect(count < 200 || blocks > 1)

    // One claim changes, and every host but those that lost the packet has it at once.
    before = (network.multicasts, network.multicastOctets, network.requests)
    hosts[count / 3].claim(["src"]) { _, _ in refused.value.append("src") }
    simulator.run(for: .milliseconds(1700))
    let src = Array("src".utf8)
    #expect(hosts.allSatisfy { $0.directory.holder(of: src) == "h\(count / 3)" })
    // Of the directories, 1.7 s of digests, and three packets with the claim.
    #expect(network.multicasts - before.0 <= count * 17 / 300 + count / 50 + 3)
    simulator.run(for: .seconds(10))
    #expect(hosts.allSatisfy { $0.directory.digest == hosts[0].directory.digest })

    // Whoever starts without a table has everything soon, from one or two hosts.
    before = (network.multicasts, network.multicastOctets, network.answerOctets)
    let late = network.start("late")
    simulator.run(for: .seconds(10))
    #expect(late.directory.digest == hosts[0].directory.digest)
    let octets = Self.kinds.count * count * 64
    #expect(network.answerOctets - before.2 <= 3 * octets)
  }

  @Test("that did not hear each other for a while come to one table again", arguments: [62, 63])
  func deaf(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let network = LightNetwork(simulator)
    let refused = Shared<[String]>([])
    let hosts = start(network, 60, refused: refused)
    simulator.run(for: .seconds(35))
    // A third hears nothing while the others claim, and forget; it claims too.
    for host in hosts[..<20] { host.isDeaf = true }
    for (number, host) in hosts.enumerated() where number % 3 == 0 {
      host.claim(["new\(number)"]) { prefix, _ in refused.value.append(prefix) }
    }
    simulator.run(for: .seconds(40))
    #expect(hosts[0].directory.digest != hosts[59].directory.digest)
    for host in hosts[..<20] { host.isDeaf = false }
    let before = (network.multicasts, network.requests)
    simulator.run(for: .seconds(45))
    #expect(refused.value.isEmpty)
    for host in hosts {
      #expect(host.directory.claimCounts.known == 60 * Self.kinds.count + 20)
      #expect(host.directory.digest == hosts[0].directory.digest)
    }
    // In two intervals at most each host has asked a few others, one after the other.
    #expect(network.multicasts - before.0 <= 2 * 60)
    #expect(network.requests - before.1 <= 60 * 6)
  }
}
