import NetworkFaults
import Testing
import VKernel
import VKernelServers
import VNode
import VProtocol
import VRuntime

@Suite("Time servers in the simulator")
struct TimeServerTests {
  /// Two hosts, each with a time server.
  private final class Pair {
    let simulator: Simulator
    let kea: Node
    let moa: Node
    private let servers: [TimeServer]

    init(seed: UInt64, _ faults: Faults = Faults()) {
      simulator = Simulator(seed: seed)
      simulator.faults = faults
      kea = simulator.start("kea")
      moa = simulator.start("moa")
      servers = [TimeServer(kea), TimeServer(moa)]
      kea.announce()
      moa.announce()
      simulator.run(for: .seconds(1))
    }

    var delayed: [Set<EntityID>] { servers.map(\.delayed) }

    /// Starts a delay of a new client of `node`; its result is put into the box.
    func delay(
      _ span: TimeSpan, on node: Node, near: EntityID = .none, as user: String = "ann"
    ) -> (client: EntityID, outcome: Shared<Answer<Nanoseconds>?>) {
      let client = node.makeClient(user: user)
      let outcome = Shared<Answer<Nanoseconds>?>(nil)
      node.send(DelayProcess(span, near: near), from: client, to: .timeGroup) {
        outcome.value = $0
      }
      return (client, outcome)
    }

    func wake(_ process: EntityID, from node: Node, as user: String) -> ReplyCode? {
      outcome(simulator) { completion in
        node.send(WakeUp(process), from: node.makeClient(user: user), to: .timeGroup) {
          completion($0.refusal ?? .ok)
        }
      }
    }
  }

  private func left(_ answer: Answer<Nanoseconds>?) -> Int64? {
    if case .done(let left, _) = answer { left.count } else { nil }
  }

  @Test("the time is that of the chosen host's clock")
  func get() {
    let pair = Pair(seed: 1)
    pair.simulator.clockOffsets["moa"] = 3_600_000_000_000
    for (near, clock) in [
      (EntityID.none, pair.kea), (.manager(of: pair.kea.id), pair.kea),
      (.manager(of: pair.moa.id), pair.moa),
    ] {
      let answer: Answer<Nanoseconds>? = outcome(pair.simulator) { completion in
        pair.kea.send(
          GetTime(near: near), from: pair.kea.makeClient(user: "ann"), to: .timeGroup,
          completion: completion)
      }
      guard case .done(let time, let server) = answer else {
        Issue.record("not answered")
        continue
      }
      #expect(server.kernel == clock.id)
      #expect(abs(time.count - clock.wallClock) < 10_000_000)
    }
  }

  @Test("a delay is answered after its time and not before", arguments: seeds)
  func delay(seed: UInt64) {
    let pair = Pair(seed: seed, Faults(loss: 10, duplication: 5, reordering: 10))
    for near in [EntityID.none, .manager(of: pair.moa.id)] {
      let began = pair.simulator.now
      let (_, answer) = pair.delay(.seconds(3), on: pair.kea, near: near)
      pair.simulator.run(for: .seconds(10)) { answer.value != nil }
      let took = pair.simulator.now - began
      #expect(left(answer.value) == 0, "V_SEED=\(seed)")
      #expect(took >= .seconds(3), "V_SEED=\(seed)")
      // A lost answer is requested again within half a second.
      #expect(took < .seconds(4), "V_SEED=\(seed)")
    }
  }

  @Test("a local delay ends exactly on time, whatever other delays there are")
  func exact() {
    let pair = Pair(seed: 2)
    let kea = pair.kea
    let began = kea.now
    let spans: [Int64] = [5000, 1, 0, 250, 90_000, 40]
    let ends = Shared<[Int64: TimeSpan]>([:])
    for span in spans {
      kea.send(
        DelayProcess(.milliseconds(span)), from: kea.makeClient(user: "ann"), to: .timeGroup
      ) { _ in ends.value[span] = kea.now - began }
    }
    pair.simulator.run(for: .seconds(100))
    for span in spans { #expect(ends.value[span] == .milliseconds(span)) }
    #expect(pair.delayed == [[], []])
  }

  @Test("wake up ends another process's delay, from anywhere, by its user or root")
  func wakeUp() {
    let pair = Pair(seed: 3)
    let nobody = pair.kea.makeClient(user: "ann")
    #expect(pair.wake(nobody, from: pair.kea, as: "root") == .noProcess)
    let (first, answer) = pair.delay(.seconds(60), on: pair.kea)
    #expect(pair.wake(first, from: pair.kea, as: "bob") == .noPermission)
    #expect(pair.wake(first, from: pair.moa, as: "ann") == .noPermission, "another ann")
    #expect(pair.wake(first, from: pair.moa, as: "root") == .noPermission)
    #expect(answer.value == nil)
    #expect(pair.wake(first, from: pair.kea, as: "ann") == .ok)
    let nanoseconds = left(answer.value) ?? 0
    #expect(nanoseconds > 59_000_000_000 && nanoseconds <= 60_000_000_000)
    #expect(pair.wake(first, from: pair.kea, as: "ann") == .noProcess)
    // The qualifier leads to the kernel that made the process, so the delay must be there.
    let (second, other) = pair.delay(.seconds(60), on: pair.moa)
    #expect(pair.wake(second, from: pair.moa, as: "root") == .ok)
    #expect((left(other.value) ?? 0) > 59_000_000_000)
  }

  @Test("the delay of a process that gave up, died or fell silent is dropped")
  func dropped() {
    let pair = Pair(seed: 4)
    let near = EntityID.manager(of: pair.moa.id)
    let (first, answer) = pair.delay(.seconds(1000), on: pair.kea, near: near)
    let givenUp = pair.kea.makeClient(user: "ann")
    let code = Shared<ReplyCode?>(nil)
    pair.kea.send(
      DelayProcess(.seconds(1000), near: near), from: givenUp, to: .timeGroup,
      options: SendOptions(timeLimit: .seconds(1))
    ) { code.value = $0.refusal }
    let (kept, _) = pair.delay(.seconds(1000), on: pair.kea, near: near)
    pair.simulator.run(for: .milliseconds(500))
    #expect(pair.delayed[1] == [first, givenUp, kept])
    pair.kea.retire(first)
    pair.simulator.run(for: .seconds(5))
    #expect(code.value == .userTimeout)
    #expect(pair.delayed[1] == [kept])
    #expect(answer.value == nil)
    pair.simulator.crash("kea")
    pair.simulator.run(for: .seconds(20))
    #expect(pair.delayed[1].isEmpty)
  }
}
