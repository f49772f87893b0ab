import Synchronization
import VObjects
import VProtocol
import VStore

/// A session that waits for a program: `wait` for its end, `events` for each change of its state.
///
/// A waiting read is a record, and needs no thread.
final class StateSession: TreeSession {
  private struct State: Sendable {
    var lines: [[UInt8]] = []
    var isEnded = false
    var reads: [(call: TreeCall, count: Int)] = []
    /// Who waits for something to read.
    var looks: [TreeCall] = []

    var readiness: Readiness { lines.isEmpty ? isEnded ? .ended : [] : .readable }
  }

  private let program: Program
  private let isForEnd: Bool
  private let ended: @Sendable (Program.Departure) -> Void
  private let state = Mutex(State())

  /// The limit of unread changes; older ones are dropped.
  private static let linesMax = 64

  /// Calls `ended` when it is closed.
  init(
    _ program: Program, isForEnd: Bool, _ ended: @escaping @Sendable (Program.Departure) -> Void
  ) {
    self.program = program
    self.isForEnd = isForEnd
    self.ended = ended
    if program.watch(self) {
      if isForEnd { state.withLock { $0.lines = [Self.line(program.hosted.state)] } }
      state.withLock { $0.isEnded = true }
    }
  }

  func note(_ change: ProgramState) {
    state.withLock { state in
      if !isForEnd || change.isEnd { state.lines.append(Self.line(change)) }
      if state.lines.count > Self.linesMax { state.lines.removeFirst() }
      if change.isEnd { state.isEnded = true }
    }
    serve()
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    state.withLock { $0.reads.append((call, count)) }
    call.whenCancelled { [weak self] in
      self?.state.withLock { state in state.reads.removeAll { $0.call === call } }
    }
    serve()
  }

  func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    done(state.withLock { $0.readiness })
  }

  func wait(for wanted: Readiness, _ call: TreeCall) {
    state.withLock { $0.looks.append(call) }
    call.whenCancelled { [weak self] in
      self?.state.withLock { state in state.looks.removeAll { $0 === call } }
    }
    serve()
  }

  func close() { end(.released) }
  func lose() { end(.silent) }

  private func end(_ departure: Program.Departure) {
    program.unwatch(self)
    ended(departure)
  }

  private func serve() {
    while let (call, octets) = next() {
      guard !call.answer(data: octets), !octets.isEmpty else { continue }
      // Its reader is gone: the next read gets the line.
      state.withLock { $0.lines.insert(octets, at: 0) }
    }
    let (ready, looks) = state.withLock { state -> (Readiness, [TreeCall]) in
      guard !state.readiness.isEmpty else { return ([], []) }
      defer { state.looks = [] }
      return (state.readiness, state.looks)
    }
    for call in looks { call.answer(ready: ready) }
  }

  private func next() -> (TreeCall, [UInt8])? {
    state.withLock { state in
      guard let (call, count) = state.reads.first, !state.lines.isEmpty || state.isEnded else {
        return nil
      }
      state.reads.removeFirst()
      guard let line = state.lines.first else { return (call, []) }
      if line.count > count {
        state.lines[0] = Array(line.dropFirst(count))
      } else {
        state.lines.removeFirst()
      }
      return (call, Array(line.prefix(count)))
    }
  }

  private static func line(_ state: ProgramState) -> [UInt8] { Array("\(state)\n".utf8) }
}

/// `wait` or `events`.
struct StateFile: TreeFile {
  let program: Program
  let programs: Programs
  let isForEnd: Bool

  var access: TreeAccess { program.access(0o444) }
  var attributes: UIOAttributes { [.readable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    let isFollowed = isForEnd && program.follow(for: opening.caller)
    opened(
      .success(
        StateSession(program, isForEnd: isForEnd) { [program, programs] departure in
          if isFollowed { programs.perform(program.unfollow(departure), program) }
        }))
  }
}
