import VProtocol
import VTree

/// A program's `ctl`: lists its commands, and takes one for each write.
struct ControlFile: TreeFile {
  let program: Program
  let board: TeamBoard

  var access: TreeAccess { program.access(0o644) }
  var attributes: UIOAttributes {
    [.readable, .writeable, .fixedLength, .randomAccess, .multiBlock]
  }
  var size: UInt64 { UInt64(ControlLine.help.utf8.count) }

  func open(
    _ opening: TreeOpening,
    _ completion: @escaping @Sendable (Result<any TreeSession, Refusal>) -> Void
  ) {
    completion(.success(ControlSession(program, board, opening.caller)))
  }
}

final class ControlSession: TreeSession {
  private let program: Program
  private let board: TeamBoard
  private let caller: TreeCaller
  private let file: String
  private let text: SnapshotSession

  init(_ program: Program, _ board: TeamBoard, _ caller: TreeCaller) {
    self.program = program
    self.board = board
    self.caller = caller
    file = "\(program.entity)"
    text = SnapshotSession(
      Array((ControlLine.help + board.refusals.text(file, caller.principal)).utf8))
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    text.read(count, at: position, call)
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    board.control(program, data, by: caller.user) { [self] refusal in
      board.refusals.note(refusal, file, caller.principal)
      if let refusal {
        call.refuse(refusal)
      } else {
        call.answer(count: data.count)
      }
    }
  }
}
