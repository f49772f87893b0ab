package import VProtocol

/// Chooses the 28-bit number of the next entity, for as long as the node runs.
///
/// Numbers are given out in order, round and round. A number that was given back is skipped until T
/// has passed, at most twice T: then nothing in the cluster refers to its last entity any more. Up
/// to 139,000 entities a second (15/16 of 2^28 in twice T) there is always one. How fast one user
/// may make entities is limited elsewhere.
package struct EntityNumbers: Sendable {
  private var next: UInt32
  private let range: ClosedRange<UInt32>
  /// Numbers given back since `turnedAt`, and in the span before that: one bit each, by zones, so
  /// that they take 64 MB even if every number was given back.
  private var late: [UInt32: [UInt64]] = [:]
  private var early: [UInt32: [UInt64]] = [:]
  private var turnedAt = Time(nanoseconds: 0)

  /// 1 is the manager, 2 to 15 are well-known.
  package static let first: UInt32 = 16
  private static let zoneBits: UInt32 = 16

  /// `start` is the first number to be given out.
  package init(
    start: UInt32 = first, in range: ClosedRange<UInt32> = first...EntityID.nestedFirst - 1
  ) {
    next = start
    self.range = range
  }

  /// A number that is neither `isUsed` nor was given back lately; nil if none is found soon.
  package mutating func take(isUsed: (UInt32) -> Bool) -> UInt32? {
    for _ in 0..<Limits.numbersTried {
      let number = next
      next = number == range.upperBound ? range.lowerBound : number + 1
      if isLate(number, in: late) || isLate(number, in: early) || isUsed(number) { continue }
      return number
    }
    return nil
  }

  package mutating func giveBack(_ number: UInt32, at now: Time) {
    guard range.contains(number) else { return }
    let age = now - turnedAt
    if age >= Limits.numberQuarantine {
      early = age >= Limits.numberQuarantine * 2 ? [:] : late
      late = [:]
      turnedAt = now
    }
    let (word, bit) = Self.place(number)
    late[
      number >> Self.zoneBits, default: [UInt64](repeating: 0, count: 1 << (Self.zoneBits - 6))
    ][word] |= bit
  }

  private func isLate(_ number: UInt32, in zones: [UInt32: [UInt64]]) -> Bool {
    guard !zones.isEmpty else { return false }
    let (word, bit) = Self.place(number)
    return (zones[number >> Self.zoneBits]?[word] ?? 0) & bit != 0
  }

  private static func place(_ number: UInt32) -> (word: Int, bit: UInt64) {
    let inZone = number & (1 << zoneBits - 1)
    return (Int(inZone >> 6), 1 << UInt64(inZone & 63))
  }
}
