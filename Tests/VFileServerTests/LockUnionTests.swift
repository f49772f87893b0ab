import Testing
import VFileServer
import VProtocol
import VRuntime

@Suite("What Linux holds for all owners of locks")
struct LockUnionTests {
  /// Cells of octets: three of one octet each, or with the last one up to the last octet.
  struct Cells: Sendable, CustomStringConvertible {
    var first: UInt64
    var isEndless: Bool

    func range(_ cells: ClosedRange<Int>) -> ClosedRange<UInt64> {
      let last = first + UInt64(cells.upperBound)
      return (first + UInt64(cells.lowerBound))...(isEndless && cells.upperBound == 2 ? .max : last)
    }
    var description: String { "\(first) \(isEndless)" }
  }

  private struct Change {
    var owner: Int
    var kind: LockKind
    var cells: ClosedRange<Int>
  }

  private static let changes: [Change] = (0..<3).flatMap { owner in
    [LockKind.none, .shared, .exclusive].flatMap { kind in
      (0..<3).flatMap { first in
        (first..<3).map { Change(owner: owner, kind: kind, cells: first...$0) }
      }
    }
  }

  /// The owners' locks on each cell, and those of Linux.
  private struct Model {
    var cells = [[LockKind]](repeating: Array(repeating: .none, count: 3), count: 3)
    var linux: [LockKind] = [.none, .none, .none]

    func isBlocked(_ change: Change) -> Bool {
      change.cells.contains { cell in
        (0..<3).contains { $0 != change.owner && cells[$0][cell].conflicts(with: change.kind) }
      }
    }

    func strongest(_ cell: Int) -> LockKind {
      cells.map { $0[cell] }.max { $0.rawValue < $1.rawValue } ?? .none
    }
  }

  /// Applies a step to the model of Linux, cell by cell.
  private func tell(_ step: LockUnion<Int>.Step, _ cells: Cells, _ model: inout Model) {
    for cell in 0..<3 where step.range.contains(cells.range(cell...cell).lowerBound) {
      model.linux[cell] = step.kind
    }
  }

  @Test(
    "Linux has the strongest lock for three owners in every state, after every change",
    arguments: [
      Cells(first: 0, isEndless: true), Cells(first: 0, isEndless: false),
      Cells(first: 7, isEndless: true), Cells(first: 7, isEndless: false),
    ])
  func model(cells: Cells) {
    var seen: Set<[[LockKind]]> = []
    var open: [(Model, LockUnion<Int>)] = [(Model(), LockUnion())]
    var wrong: [String] = []
    while let (before, union) = open.popLast() {
      guard seen.insert(before.cells).inserted else { continue }
      for change in Self.changes {
        let range = cells.range(change.cells)
        let isBlocked = union.isHeld(against: change.kind, range, of: change.owner)
        if isBlocked != before.isBlocked(change) { wrong.append("\(change) blocked") }
        guard !isBlocked else { continue }
        var (model, after) = (before, union)
        if change.kind != .none, let step = union.step(toward: change.kind, range) {
          tell(step, cells, &model)
        }
        let steps = after.change(
          change.owner, to: union.ranges(of: change.owner, setting: change.kind, range))
        if change.kind == .none { for step in steps { tell(step, cells, &model) } }
        for cell in change.cells { model.cells[change.owner][cell] = change.kind }
        for cell in 0..<3 {
          let wanted = model.strongest(cell)
          let octets = cells.range(cell...cell)
          let ends = [
            after.strongest(at: octets.lowerBound), after.strongest(at: octets.upperBound),
          ]
          if model.linux[cell] != wanted || ends != [wanted, wanted] {
            wrong.append("\(before.cells) \(change): \(model.linux)")
          }
          if after.isFree(octets) != (wanted == .none) { wrong.append("\(change) free") }
        }
        if cells.first > 0 && after.strongest(at: cells.first - 1) != .none {
          wrong.append("\(change) before")
        }
        if !cells.isEndless && after.strongest(at: cells.first + 3) != .none {
          wrong.append("\(change) behind")
        }
        var held = [LockKind](repeating: .none, count: 3)
        for step in after.held {
          for cell in 0..<3 where step.range.contains(cells.range(cell...cell).lowerBound) {
            held[cell] = step.kind
          }
        }
        if held != model.linux || after.hasExclusive != held.contains(.exclusive) {
          wrong.append("\(change) held")
        }
        let isEmpty = model.cells.allSatisfy { $0.allSatisfy { $0 == .none } }
        if after.isEmpty != isEmpty { wrong.append("\(change) empty") }
        open.append((model, after))
      }
    }
    // On each cell: no owner, one of three exclusively, or any of them shared.
    #expect(seen.count == 11 * 11 * 11)
    #expect(wrong.isEmpty, "\(wrong.prefix(3))")
  }

  @Test("the rest for other owners takes as few steps as it has kinds")
  func steps() {
    var union = LockUnion<Int>()
    _ = union.change(1, to: union.ranges(of: 1, setting: .shared, 0...99))
    _ = union.change(2, to: union.ranges(of: 2, setting: .shared, 40...49))
    _ = union.change(3, to: union.ranges(of: 3, setting: .shared, 45...59))
    let steps = union.change(1, to: RangeLocks())
    #expect(
      steps == [
        LockUnion.Step(kind: .none, range: 0...39), LockUnion.Step(kind: .none, range: 60...99),
      ])
  }
}
