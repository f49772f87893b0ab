import NetworkFaults
import Testing
import VTransport

@Suite("Table")
struct TableTests {
  /// Counts those that are alive.
  private final class Counted: Sendable {
    let number: UInt64
    private let alive: Alive

    init(_ number: UInt64, _ alive: Alive) {
      (self.number, self.alive) = (number, alive)
      alive.count += 1
    }

    deinit { alive.count -= 1 }
  }

  /// `@unchecked Sendable`: one thread has it.
  private final class Alive: @unchecked Sendable {
    var count = 0
  }

  private struct Entry: Sendable {
    var object: Counted
    var changes = 0
  }

  @Test(
    "it does what a Dictionary does, and every value ends once", arguments: 1...20 as ClosedRange)
  func likeDictionary(seed: UInt64) {
    let alive = Alive()
    do {
      var random = SeededGenerator(seed: seed)
      var table = Table<UInt64, Entry>()
      var model: [UInt64: Entry] = [:]
      for number in 0..<2000 as Range<UInt64> {
        let key = UInt64.random(in: 0..<60, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0:
          table[key] = Entry(object: Counted(number, alive))
          model[key] = table[key]
        case 1:
          table[key]?.changes += 1
          model[key]?.changes += 1
        case 2:
          table[key] = nil
          model[key] = nil
        case 3:
          #expect(table[key].take()?.object.number == model.removeValue(forKey: key)?.object.number)
        default:
          #expect(table[key]?.object.number == model[key]?.object.number)
          #expect(table[key]?.changes == model[key]?.changes)
        }
        #expect(table.count == model.count)
      }
      #expect(table.keys.sorted() == model.keys.sorted())
      for (key, entry) in table.entries {
        #expect(entry.object === model[key]?.object && entry.changes == model[key]?.changes)
      }
      #expect(alive.count == model.count)
    }
    #expect(alive.count == 0)
  }

  @Test("a value that is made nil where it is has gone")
  func nilInPlace() {
    func clear(_ value: inout Int?) { value = nil }
    var table = Table<Int, Int>()
    for key in 1...20 { table[key] = key }
    clear(&table[20])
    clear(&table[1])
    clear(&table[99])
    #expect(table.count == 18 && table[1] == nil && table[19] == 19 && table[20] == nil)
    #expect(table.keys.sorted() == Array(2...19))
  }
}
