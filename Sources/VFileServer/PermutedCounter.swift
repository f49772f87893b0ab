/// A source of 32-bit identifiers, each given once before any comes again, and never 0.
///
/// Their order can not be foretold: an old identifier is not valid for something new, and holding
/// one does not tell another.
package struct PermutedCounter: Sendable {
  private var count: UInt32 = 0
  private let key: UInt64

  package init(key: UInt64) { self.key = key }

  package mutating func next() -> UInt32 {
    repeat {
      count &+= 1
      let identifier = permuted(count)
      if identifier != 0 { return identifier }
    } while true
  }

  /// A Feistel network: whatever the round function, two numbers never become the same one.
  private func permuted(_ number: UInt32) -> UInt32 {
    var left = UInt16(truncatingIfNeeded: number >> 16)
    var right = UInt16(truncatingIfNeeded: number)
    for round in 0..<UInt64(4) {
      var mixed = (UInt64(right) | round << 16) ^ key
      mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
      (left, right) = (right, left ^ UInt16(truncatingIfNeeded: mixed >> 48))
    }
    return UInt32(left) << 16 | UInt32(right)
  }
}
