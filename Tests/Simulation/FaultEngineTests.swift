import NetworkFaults
import Testing

@Suite("The fault engine of the simulated network and of the lab's switch")
struct FaultEngineTests {
  /// The faults of the next `count` packets from 1 to 2.
  private func fates(
    _ count: Int, seed: UInt64 = 7, _ faults: Faults,
    between: (inout FaultEngine) -> Void = { _ in }
  ) -> [[UInt64]] {
    var engine = FaultEngine(seed: seed)
    engine.setFaults(faults, of: 2)
    return (0..<count).map { _ in
      between(&engine)
      return engine.delays(from: 1, to: 2)
    }
  }

  @Test("the n-th packet of a link has the same faults, whatever others send")
  func repeatable() {
    let faults = Faults(loss: 20, duplication: 20, reordering: 20)
    let alone = fates(500, faults)
    #expect(fates(500, faults) == alone)
    #expect(
      fates(500, faults) {
        _ = $0.delays(from: 2, to: 1)
        _ = $0.delays(from: 3, to: 2)
      } == alone)
    #expect(fates(500, seed: 8, faults) != alone)
  }

  @Test("faults have their probability, and affect only packets of their host")
  func chances() {
    let found = fates(10_000, Faults(loss: 5, duplication: 2, reordering: 10))
    let lost = found.filter(\.isEmpty).count
    let twice = found.filter { $0.count == 2 }.count
    let late = found.filter { $0.contains { $0 > 0 } }.count
    #expect((400...600).contains(lost) && (130...260).contains(twice), "\(lost) \(twice)")
    #expect((850...1150).contains(late), "\(late)")
    #expect(found.joined().allSatisfy { $0 < Faults.detourNanosecondsMax })
    var engine = FaultEngine(seed: 7)
    engine.setFaults(Faults(loss: 100), of: 2)
    #expect(engine.delays(from: 2, to: 3).isEmpty && engine.delays(from: 3, to: 2).isEmpty)
    #expect(engine.delays(from: 1, to: 3) == [0])
    engine.setFaults(Faults(), of: 2)
    engine.everywhere = Faults(duplication: 100, delayNanoseconds: 3)
    #expect(engine.delays(from: 2, to: 3) == [3, 3])
  }

  @Test("a partition separates two hosts in both directions until it is healed")
  func partition() {
    var engine = FaultEngine(seed: 1)
    engine.partition(2, 1)
    #expect(engine.delays(from: 1, to: 2).isEmpty && engine.delays(from: 2, to: 1).isEmpty)
    #expect(engine.delays(from: 1, to: 3) == [0])
    engine.heal()
    #expect(engine.delays(from: 1, to: 2) == [0])
    #expect(engine.packetsSeen == 4 && engine.packetsLost == 2)
  }

  @Test("a number of packets of one host can be lost")
  func drop() {
    var engine = FaultEngine(seed: 1)
    engine.drop(2, from: 1)
    #expect(engine.delays(from: 2, to: 1) == [0])
    #expect((0..<3).map { _ in engine.delays(from: 1, to: 2) } == [[], [], [0]])
  }
}
