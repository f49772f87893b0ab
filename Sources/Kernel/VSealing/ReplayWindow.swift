/// The packet numbers of one sender that have been seen: each is accepted once.
///
/// It covers 1,024 numbers down from the highest; older ones may be repeated ones and are refused.
/// The first number seen opens the window.
package struct ReplayWindow: Sendable {
  private var highest: UInt64?
  private var bits = [UInt64](repeating: 0, count: Self.size / 64)

  package static let size = 1024

  package init() {}

  /// Accepts `number` if it is new; else returns false.
  package mutating func accept(_ number: UInt64) -> Bool {
    if let highest, number <= highest {
      guard highest - number < UInt64(Self.size), !isMarked(number) else { return false }
    } else {
      if let highest { advance(from: highest, to: number) }
      highest = number
    }
    mark(number)
    return true
  }

  private mutating func advance(from old: UInt64, to new: UInt64) {
    if new - old >= UInt64(Self.size) {
      for index in bits.indices { bits[index] = 0 }
      return
    }
    var number = old
    while number < new {
      number += 1
      bits[slot(number)] &= ~bit(number)
    }
  }

  private func slot(_ number: UInt64) -> Int { Int(number / 64 % UInt64(bits.count)) }
  private func bit(_ number: UInt64) -> UInt64 { 1 << (number % 64) }
  private func isMarked(_ number: UInt64) -> Bool { bits[slot(number)] & bit(number) != 0 }
  private mutating func mark(_ number: UInt64) { bits[slot(number)] |= bit(number) }
}
