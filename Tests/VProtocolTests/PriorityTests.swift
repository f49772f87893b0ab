import Testing
import VProtocol

@Suite("Priorities")
struct PriorityTests {
  private static let all = (0..<16).map { Priority(bits: UInt8($0)) }

  @Test("the levels are urgent, important, normal, background, and grades go downward")
  func ranks() {
    let bits: [UInt8] = [12, 13, 14, 15, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]
    #expect(bits.map { Priority(bits: $0).rank } == Array(0..<16))
    let levels: [Priority] = [.guest, .background, .normal, .important, .urgent]
    #expect(levels.reversed().sorted() == levels)
    #expect(Priority(bits: 0xFC) == .urgent)
  }

  @Test("a client of another host is in the background, and order among them stays")
  func otherHost() {
    for one in Self.all {
      #expect(one.onOtherHost <= .background && one.onOtherHost <= one)
      for other in Self.all where one < other { #expect(one.onOtherHost <= other.onOtherHost) }
    }
    let levels: [Priority] = [.important, .normal, .background, .guest]
    #expect(levels.map { $0.onOtherHost.bits } == [4, 5, 6, 7])
    #expect(Priority.urgent.onOtherHost == .background)
  }
}

@Suite("Priority queue")
struct PriorityQueueTests {
  private static let kinds: [Priority] = [.urgent, .normal, .guest]

  /// Runs a sequence of steps, each the addition of one kind or a service; whether every service
  /// takes the oldest of the most urgent, and nothing is lost.
  ///
  /// There are fewer services than a turn of the oldest of all takes.
  private func isInOrder(_ steps: [Int]) -> Bool {
    var queue = PriorityQueue<Int>()
    var waiting: [(element: Int, priority: Priority)] = []
    for (number, step) in steps.enumerated() {
      if step < Self.kinds.count {
        queue.add(number, Self.kinds[step])
        waiting.append((number, Self.kinds[step]))
      } else {
        let served = queue.next()
        let best = waiting.map(\.priority).max()
        guard served == waiting.first(where: { $0.priority == best })?.element else { return false }
        waiting.removeAll { $0.element == served }
      }
      guard queue.count == waiting.count, queue.isEmpty == waiting.isEmpty else { return false }
    }
    var rest: Set<Int> = []
    while let element = queue.next() { rest.insert(element) }
    return rest == Set(waiting.map(\.element))
  }

  @Test("of all short sequences each serves the oldest of the most urgent, and loses nothing")
  func exhaustive() {
    let length = 7
    let choices = Self.kinds.count + 1
    var count = 1
    for _ in 0..<length { count *= choices }
    var wrong: [[Int]] = []
    for code in 0..<count {
      var left = code
      let steps = (0..<length).map { _ in
        defer { left /= choices }
        return left % choices
      }
      if !isInOrder(steps) { wrong.append(steps) }
    }
    #expect(wrong.isEmpty)
  }

  @Test("what is passed over is served in its eighth turn, however much is more urgent")
  func starvation() {
    for old in 1...3 {
      var queue = PriorityQueue<Int>()
      for number in 0..<old { queue.add(-1 - number, .guest) }
      var turns: [Int] = []
      for turn in 1...40 {
        queue.add(turn, .urgent)
        queue.add(turn + 100, .normal)
        if let served = queue.next(), served < 0 { turns.append(turn) }
      }
      #expect(turns == (1...old).map { $0 * 8 })
    }
  }

  @Test("an urgent one behind many is next, whoever was served before")
  func urgent() {
    var queue = PriorityQueue<Int>()
    for number in 0..<1000 { queue.add(number, .background) }
    for number in 0..<20 { #expect(queue.next() == number) }
    queue.add(-1, .urgent)
    #expect(queue.next(atLeast: .important) == -1 && queue.next(atLeast: .normal) == nil)
    #expect((20..<1000).allSatisfy { queue.next() == $0 } && queue.next() == nil)
  }
}
