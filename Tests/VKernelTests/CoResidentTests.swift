import Testing
import VKernel
import VProtocol
import VTransport

@Suite("The co-resident qualifier", .timeLimit(.minutes(1)))
struct CoResidentTests {
  private let moa: UInt32 = 0x0A4D_0002
  private static let printers = EntityID(group: 77, low: 7, isUnrestricted: true)
  private static let jobs = EntityID(group: 78, low: 7, isUnrestricted: true)

  /// How many members of a group get a request of another kernel.
  private func deliveries(near: EntityID, joinsJobs: Bool = false) -> Int {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    test.kernel.join(server, group: Self.printers)
    if joinsJobs { test.kernel.join(test.kernel.makeServer(.idempotent), group: Self.jobs) }
    test.receive(from: moa, to: Self.printers, near: near)
    return test.taken().count { if case .invoke = $0 { true } else { false } }
  }

  @Test("G7: with no entity it means the client's own kernel, and no other answers")
  func noEntity() {
    #expect(deliveries(near: .none) == 0)
    #expect(deliveries(near: .manager(of: TestKernel.id)) == 1)
    #expect(deliveries(near: .manager(of: KernelID(moa))) == 0)
  }

  @Test("G8: with a group it means the kernels that have members of it")
  func group() {
    #expect(deliveries(near: Self.jobs) == 0)
    #expect(deliveries(near: Self.jobs, joinsJobs: true) == 1)
  }

  @Test(
    "G8: a request qualified by a group goes to all kernels, and here only beside a member of it"
  )
  func groupSent() {
    for joinsJobs in [false, true] {
      var test = TestKernel()
      let client = test.kernel.makeClient(user: "ann")
      test.kernel.join(test.kernel.makeServer(.idempotent), group: Self.printers)
      if joinsJobs { test.kernel.join(test.kernel.makeServer(.idempotent), group: Self.jobs) }
      test.send(from: client, to: Self.printers, near: Self.jobs)
      let actions = test.taken()
      #expect(actions.count { if case .invoke = $0 { true } else { false } } == (joinsJobs ? 1 : 0))
      #expect(
        actions.contains {
          guard case .transmit(let sent) = $0 else { return false }
          return sent.destination == .group(Self.printers)
        })
    }
  }
}
