import Testing
import VClient
import VProtocol
import VRuntime

@Suite("Pieces of a large read")
struct PiecesTests {
  /// A read of pieces of 10 octets of an object, whose answers come when a test says so.
  ///
  /// `@unchecked Sendable`: one thread.
  private final class Reading: @unchecked Sendable {
    typealias Done = @Sendable (Answer<Int>) -> Void
    let size: Int
    private(set) var started: [Int] = []
    private(set) var result: [Int?]?
    private var waiting: [(index: Int, done: Done)] = []

    init(_ count: Int, window: Int = 8, expected: Int = .max, ofSize size: Int) {
      self.size = size
      Pieces<Int>(count: count, window: window, expected: expected) { [self] index, done in
        started.append(index)
        waiting.append((index, done))
      } isShort: { _, answer in
        if case .done(let count, _) = answer { count < 10 } else { true }
      } end: { [self] answers in
        result = answers.map { if case .done(let count, _)? = $0 { count } else { nil } }
      }.run()
    }

    /// Answers what is under way, the last one first.
    func answer() {
      let now = waiting.reversed()
      waiting = []
      for (index, done) in now { done(.done(max(0, min(10, size - index * 10)), by: .none)) }
    }

    /// How many questions were under way together, round for round, to the end.
    func rounds() -> [Int] {
      var rounds: [Int] = []
      while !waiting.isEmpty {
        rounds.append(waiting.count)
        answer()
      }
      return rounds
    }
  }

  @Test("nothing is asked for behind an end that is known", arguments: [2, 10, 25, 30])
  func knownEnd(size: Int) {
    let reading = Reading(8, expected: (size + 9) / 10, ofSize: size)
    let rounds = reading.rounds()
    // An end between two pieces is proved by one that is empty.
    let whole = size % 10 == 0
    #expect(rounds == (whole ? [size / 10, 1] : [size / 10 + 1]))
    #expect(reading.result?.compactMap { $0 }.reduce(0, +) == size)
  }

  @Test("an object without a known end, or that has grown, is read side by side all the same")
  func unknownEnd() {
    #expect(Reading(8, expected: 0, ofSize: 80).rounds() == [1, 7])
    #expect(Reading(8, expected: 3, ofSize: 80).rounds() == [3, 1, 4])
    #expect(Reading(8, expected: 0, ofSize: 3).rounds() == [1])
    #expect(Reading(8, expected: 0, ofSize: 0).rounds() == [1])
    #expect(Reading(8, window: 2, expected: 8, ofSize: 80).rounds() == [2, 2, 2, 2])
    #expect(Reading(8, ofSize: 80).rounds() == [8])
  }

  @Test("an object that is shorter than was thought ends where it falls short")
  func shrunk() {
    let reading = Reading(8, expected: 8, ofSize: 15)
    #expect(reading.rounds() == [8])
    #expect(reading.result?.prefix(2) == [10, 5])
  }
}
