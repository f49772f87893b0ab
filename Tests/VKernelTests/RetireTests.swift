import Testing
import VKernel
import VProtocol
import VTransport

@Suite("An entity that is retired", .timeLimit(.minutes(1)))
struct RetireTests {
  @Test("ends the transactions that wait for it, and no others")
  func waiting() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    let other = test.kernel.makeServer(.idempotent)
    let clients = (0..<200).map { _ in test.kernel.makeClient(user: "ann") }
    // Most requests have been answered long ago.
    for _ in 0..<20 { for client in clients { test.sendAndReply(from: client, to: server) } }
    for client in clients[..<150] { test.send(from: client, to: server) }
    for client in clients[150...] { test.send(from: client, to: other) }
    let told = test.retire(server)
    #expect(Set(told.keys) == Set(clients[..<150]))
    #expect(told.values.allSatisfy { $0 == .outcomeUnknown })
    #expect(Set(test.retire(other).keys) == Set(clients[150...]))
  }

  @Test("ends requests that were forwarded to it, not those that it has forwarded")
  func forwarded() {
    var test = TestKernel()
    let first = test.kernel.makeServer(.atMostOnce)
    let second = test.kernel.makeServer(.atMostOnce)
    let client = test.kernel.makeClient(user: "ann")
    test.send(from: client, to: first)
    for case .invoke(let request) in test.taken() {
      test.kernel.forward(request, request.message, to: second, &test.step)
    }
    #expect(test.retire(first).isEmpty)
    #expect(test.retire(second) == [client: .outcomeUnknown])
  }

  @Test("as the last member of a group ends the transactions that wait for this kernel's members")
  func lastMember() {
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    var test = TestKernel()
    let members = (0..<3).map { _ in test.kernel.makeServer(.atMostOnce) }
    for member in members { test.kernel.join(member, group: group) }
    let clients = (0..<100).map { _ in test.kernel.makeClient(user: "ann") }
    for client in clients { test.send(from: client, to: group, near: EntityID.none) }
    #expect(test.retire(members[0]).isEmpty && test.retire(members[1]).isEmpty)
    #expect(Set(test.retire(members[2]).keys) == Set(clients))
    test.send(from: clients[0], to: group, near: EntityID.none)
    #expect(test.completions() == [clients[0]: .nonexistentEntity])
  }

  @Test("costs time for its own state, however many others there are")
  func cost() {
    var test = TestKernel()
    let count = 30_000
    let servers = (0..<count).map { _ in test.kernel.makeServer(.idempotent) }
    for (index, server) in servers.enumerated() {
      test.kernel.join(
        server, group: EntityID(group: UInt32(index), low: 7, isUnrestricted: true))
      test.send(from: test.kernel.makeClient(user: "ann"), to: server)
    }
    _ = test.taken()
    // If each retirement searched all entities, this would exceed the time limit of the suite.
    var told = 0
    for server in servers { told += test.retire(server).count }
    #expect(told == count)
    #expect(test.kernel.entityStatus(of: nil).allSatisfy { $0.groups.isEmpty })
  }

  @Test("was in at most 16 groups")
  func groups() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    for index in 0..<1000 {
      let group = EntityID(group: UInt32(index), low: 7, isUnrestricted: true)
      test.kernel.join(server, group: group)
      test.kernel.join(server, group: group)
    }
    #expect(test.kernel.entityStatus(of: server).first?.groups.count == 16)
    _ = test.retire(server)
    // A retired entity joins no group.
    test.kernel.join(server, group: EntityID(group: 1, low: 7, isUnrestricted: true))
    #expect(test.kernel.entityStatus(of: nil).isEmpty)
  }
}

@Suite("Timers of the kernel")
struct TimerTests {
  @Test("are not kept for transactions that are over")
  func limits() throws {
    var test = TestKernel()
    let server = test.kernel.makeServer(.idempotent)
    let client = test.kernel.makeClient(user: "ann")
    // Each limit is before the one that is queued, and a year away.
    for index in 0..<20_000 {
      test.sendAndReply(
        from: client, to: server,
        limit: TimeSpan(nanoseconds: 31_000_000_000_000_000 - Int64(index)))
    }
    for _ in 0..<20_000 {
      let other = test.kernel.makeClient(user: "ann")
      test.send(from: other, to: server, limit: .seconds(31_000_000))
      _ = test.retire(other)
    }
    let timers = try #require(test.kernel.tableCounts.first { $0.table == "timers" })
    #expect(timers.count <= 4097)
    // The timer that matters is still there.
    test.send(from: client, to: server, limit: .seconds(1))
    test.step.now = test.step.now + .seconds(1)
    _ = test.taken()
    test.kernel.handleTimers(&test.step)
    #expect(test.completions() == [client: .userTimeout])
  }
}

@Suite("Numbers of entities")
struct NumberTests {
  private let last: UInt32 = EntityID.nestedFirst - 1

  @Test("start again after the last one, and skip those in use")
  func wrap() {
    var test = TestKernel(firstNumber: last - 1)
    let numbers = (0..<4).map { _ in test.kernel.makeClient(user: "ann").discriminator }
    #expect(numbers == [last - 1, last, 16, 17])
  }

  @Test("I1: that were given back come again after 15 minutes and not before")
  func quarantine() {
    func time(_ seconds: Int64) -> Time { Time(nanoseconds: seconds * 1_000_000_000) }
    var numbers = EntityNumbers(start: last)
    /// The second number that a copy gives out, after the last one of all.
    func afterTheLast(_ numbers: EntityNumbers) -> UInt32? {
      var copy = numbers
      _ = copy.take { _ in false }
      return copy.take { _ in false }
    }
    #expect(afterTheLast(numbers) == 16)
    numbers.giveBack(16, at: time(10_000))
    numbers.giveBack(17, at: time(10_899))
    #expect(afterTheLast(numbers) == 18)
    numbers.giveBack(1000, at: time(10_901))
    #expect(afterTheLast(numbers) == 18)
    numbers.giveBack(1001, at: time(11_802))
    #expect(afterTheLast(numbers) == 16)
    // After a long time without entities nothing is remembered.
    numbers.giveBack(16, at: time(11_803))
    numbers.giveBack(1002, at: time(99_000))
    #expect(afterTheLast(numbers) == 16)
  }

  @Test("are searched for a short time; if none is found no entity is made")
  func exhausted() {
    var numbers = EntityNumbers()
    var looked = 0
    let number = numbers.take { _ in
      looked += 1
      return true
    }
    #expect(number == nil && looked == 1024)
  }
}
