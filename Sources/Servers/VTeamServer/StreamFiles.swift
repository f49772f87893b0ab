import Synchronization
import VObjects
import VProtocol
import VStore

/// A program's output, `out` or `err`: each instance reads all that is kept, then waits for more;
/// or reads from a position that the reader gives.
struct OutputFile: TreeFile {
  let program: Program
  let programs: Programs
  let stream: OutputStream

  var access: TreeAccess { program.access(0o400) }
  var attributes: UIOAttributes { [.readable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    let isFollowed = program.follow(for: opening.caller)
    opened(
      .success(
        OutputSession(program.hosted, stream) { [program, programs] departure in
          if isFollowed { programs.perform(program.unfollow(departure), program) }
        }))
  }
}

final class OutputSession: TreeSession {
  private struct State: Sendable {
    var position: UInt64 = 0
    /// Where the program's own output has ended, once a reader was told; what it left behind goes
    /// on one position further.
    var end: UInt64?
    /// One read at a time is at the machine: the octets of the next one follow it.
    var isReading = false
    var isNamed = false
    /// With a position if the reader gives one.
    var reads: [(call: TreeCall, count: Int, position: UInt64?)] = []
  }

  private let hosted: any HostedProgram
  private let stream: OutputStream
  private let ended: @Sendable (Program.Departure) -> Void
  private let state = Mutex(State())

  init(
    _ hosted: any HostedProgram, _ stream: OutputStream,
    _ ended: @escaping @Sendable (Program.Departure) -> Void
  ) {
    self.hosted = hosted
    self.stream = stream
    self.ended = ended
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let named = StreamPosition.named(by: position)
    state.withLock { $0.reads.append((call, count, named)) }
    call.whenCancelled { [weak self] in
      self?.state.withLock { state in state.reads.removeAll { $0.call === call } }
    }
    readNext()
  }

  func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    _ = look(waits: false, done)
  }

  func wait(for wanted: Readiness, _ call: TreeCall) {
    let ticket = look(waits: true) { call.answer(ready: $0) }
    call.whenCancelled { [hosted] in hosted.cancel(ticket) }
  }

  private func look(waits: Bool, _ done: @escaping @Sendable (Readiness) -> Void) -> ReadTicket {
    let position = state.withLock { $0.position == $0.end ? $0.position + 1 : $0.position }
    return hosted.look(at: .output(stream, from: position), waits: waits) { found in
      switch found {
      case .ready: done(.readable)
      case .ended: done(.ended)
      case .busy: done([])
      }
    }
  }

  func close() { ended(.released) }
  func lose() { ended(.silent) }

  private func readNext() {
    let next = state.withLock { state -> (TreeCall, Int, UInt64)? in
      guard !state.isReading, let (call, count, named) = state.reads.first else { return nil }
      state.isReading = true
      state.reads.removeFirst()
      if let named {
        state.position = named
      } else if state.position == state.end {
        state.position += 1
      }
      state.isNamed = named != nil
      return (call, count, state.position)
    }
    guard let (call, count, position) = next else { return }
    let ticket = hosted.read(stream, from: position, count: count) { [self] result in
      finish(call, result)
    }
    call.whenCancelled { [hosted] in hosted.cancel(ticket) }
  }

  private func finish(_ call: TreeCall, _ result: StreamRead) {
    switch result {
    case .octets(_, let position) where state.withLock({ $0.isNamed && $0.position != position }):
      call.refuse(Refusal(.outOfRange, "octets before \(position) are kept no more"))
    case .octets(let octets, let position):
      // Nobody has what a reader that is gone was to get: the next one gets it.
      if call.answer(data: octets, at: position) {
        state.withLock { $0.position = position + UInt64(octets.count) }
      }
    case .end:
      if call.answer(data: []), hosted.order.isAttached {
        state.withLock { $0.end = $0.end ?? $0.position }
      }
    case .cancelled: call.refuse(Refusal(.interrupted))
    case .lost: call.refuse(Refusal(.deviceError, "the program's keeper is gone"))
    }
    state.withLock { $0.isReading = false }
    readNext()
  }
}

/// A program's input: every write is answered once it is taken.
///
/// The last release ends the input, and so does an empty write with a position.
struct InputFile: TreeFile {
  let program: Program

  var access: TreeAccess { program.access(0o200) }
  var attributes: UIOAttributes { [.writeable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(InputSession(program)))
  }
}

final class InputSession: TreeSession {
  private let program: Program

  init(_ program: Program) {
    self.program = program
    program.addInput()
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    let named = StreamPosition.named(by: position)
    if named != nil && data.isEmpty {
      program.hosted.endInput()
      _ = call.answer(count: 0)
      return
    }
    program.hosted.write(data, at: named) { code in
      if code.isOK {
        call.answer(count: data.count)
      } else {
        call.refuse(Refusal(code))
      }
    }
  }

  func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    _ = look(waits: false, done)
  }

  func wait(for wanted: Readiness, _ call: TreeCall) {
    let ticket = look(waits: true) { call.answer(ready: $0) }
    call.whenCancelled { [program] in program.hosted.cancel(ticket) }
  }

  private func look(waits: Bool, _ done: @escaping @Sendable (Readiness) -> Void) -> ReadTicket {
    program.hosted.look(at: .input, waits: waits) { found in
      switch found {
      case .ready: done(.writeable)
      case .ended: done(.broken)
      case .busy: done([])
      }
    }
  }

  func close() { program.removeInput(.released) }
  func lose() { program.removeInput(.silent) }
}
