internal import Synchronization
internal import VProtocol
internal import VRuntime

/// The pieces of one large read or write: a few are under way at a time, in order of their start,
/// until one falls short.
///
/// Completions may come on any thread, and on the starting one before `start` returns; pieces are
/// started by one thread at a time and never from within each other.
final class Pieces<Value: Sendable>: Sendable {
  private struct State {
    var results: [Answer<Value>?]
    var next = 0
    var atWork = 0
    var isStarting = false
    var isShort = false

    var mayStart: Bool { !isShort && next < results.count }
  }

  private let state: Mutex<State>
  private let window: Int
  private let start: @Sendable (Int, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  private let isShort: @Sendable (Int, Answer<Value>) -> Bool
  private let end: @Sendable ([Answer<Value>?]) -> Void

  /// `start` begins the piece with an index; `isShort` says that what is behind it does not
  /// count; `end` gets what all pieces came to, nil where one was not started.
  init(
    count: Int, window: Int,
    start: @escaping @Sendable (Int, @escaping @Sendable (Answer<Value>) -> Void) -> Void,
    isShort: @escaping @Sendable (Int, Answer<Value>) -> Bool,
    end: @escaping @Sendable ([Answer<Value>?]) -> Void
  ) {
    state = Mutex(State(results: Array(repeating: nil, count: count)))
    self.window = window
    self.start = start
    self.isShort = isShort
    self.end = end
  }

  func run() {
    let isStarter = state.withLock { state in
      defer { state.isStarting = true }
      return !state.isStarting
    }
    guard isStarter else { return }
    while let index = nextIndex() {
      start(index) { [self] result in finish(index, result) }
    }
  }

  /// The next piece to start; nil ends the starting, and the whole if nothing is at work.
  private func nextIndex() -> Int? {
    let (index, results) = state.withLock { state -> (Int?, [Answer<Value>?]?) in
      if state.mayStart && state.atWork < window {
        defer { state.next += 1 }
        state.atWork += 1
        return (state.next, nil)
      }
      state.isStarting = false
      guard !state.mayStart, state.atWork == 0 else { return (nil, nil) }
      // Nothing starts any more: this thread is the last.
      state.isStarting = true
      return (nil, state.results)
    }
    if let results { end(results) }
    return index
  }

  private func finish(_ index: Int, _ result: Answer<Value>) {
    let falls = isShort(index, result)
    state.withLock { state in
      state.results[index] = result
      state.atWork -= 1
      if falls { state.isShort = true }
    }
    run()
  }
}
