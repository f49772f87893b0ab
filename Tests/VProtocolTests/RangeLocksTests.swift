import Testing
import VProtocol

@Suite("Locks on ranges")
struct RangeLocksTests {
  /// Every kind on every range of five octets.
  static let changes: [(LockKind, ClosedRange<UInt64>)] =
    [LockKind.none, .shared, .exclusive].flatMap { kind in
      (0..<5).flatMap { first in
        (first..<5).map { (kind, UInt64(first)...UInt64($0)) }
      }
    }

  @Test("three changes of any kind agree with an array of octets")
  func model() {
    var octets: [[LockKind]] = [[], [], []]
    var locks = [RangeLocks](repeating: RangeLocks(), count: 3)
    func apply(_ change: (LockKind, ClosedRange<UInt64>), _ depth: Int) {
      octets[depth] = depth == 0 ? Array(repeating: .none, count: 5) : octets[depth - 1]
      locks[depth] = depth == 0 ? RangeLocks() : locks[depth - 1]
      for octet in change.1 { octets[depth][Int(octet)] = change.0 }
      locks[depth].set(change.0, change.1)
      var found = [LockKind](repeating: .none, count: 5)
      var last: RangeLocks.Span?
      var isSound = true
      for span in locks[depth].spans {
        for octet in span.range { found[Int(octet)] = span.kind }
        isSound = isSound && span.kind != .none
        if let last {
          isSound = isSound && last.range.upperBound < span.range.lowerBound
          let touches = last.range.upperBound + 1 == span.range.lowerBound
          isSound = isSound && !(touches && last.kind == span.kind)
        }
        last = span
      }
      if found != octets[depth] || !isSound {
        Issue.record("\(change) gives \(locks[depth].spans), wanted \(octets[depth])")
      }
    }
    for first in Self.changes {
      apply(first, 0)
      for second in Self.changes {
        apply(second, 1)
        for third in Self.changes { apply(third, 2) }
      }
    }
  }

  @Test("the last possible octet belongs to a range like any other")
  func ends() {
    var locks = RangeLocks()
    locks.set(.shared, 0 ... .max)
    locks.set(.exclusive, UInt64.max ... .max)
    locks.set(.none, 0...0)
    #expect(
      locks.spans.map(\.range) == [1...(UInt64.max - 1), UInt64.max ... .max])
    locks.set(.exclusive, 1 ... .max)
    #expect(locks.spans.map(\.range) == [1 ... .max])
    locks.set(.none, 0 ... .max)
    #expect(locks.isEmpty)
  }

  @Test("only exclusive locks exclude shared ones, and any lock excludes an exclusive one")
  func conflicts() {
    var locks = RangeLocks()
    locks.set(.shared, 0...9)
    locks.set(.exclusive, 20...29)
    #expect(locks.conflict(with: .shared, 0...19) == nil)
    #expect(locks.conflict(with: .exclusive, 9...19)?.range == 0...9)
    #expect(locks.conflict(with: .shared, 0 ... .max)?.kind == .exclusive)
    #expect(locks.conflict(with: .none, 0 ... .max) == nil)
  }
}
