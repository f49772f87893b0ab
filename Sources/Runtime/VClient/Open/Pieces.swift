internal import Synchronization
package import VRuntime

/// The pieces of one large read or write: a few are under way at a time, in the order of their
/// start, until one is short.
///
/// Of pieces that may be behind the end, the first is started alone, once all before it are whole;
/// if it is whole too, the others are like any.
///
/// Completions may come on any thread, and on the starting one before `start` returns.
package final class Pieces<Value: Sendable>: Sendable {
  private struct State {
    var results: [Answer<Value>?]
    var next = 0
    var atWork = 0
    /// Pieces with a smaller index are expected to be whole.
    var expected: Int
    var isShort = false
    var isEnded = false
  }

  private let state: Mutex<State>
  private let window: Int
  private let start: @Sendable (Int, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  private let isShort: @Sendable (Int, Answer<Value>) -> Bool
  private let end: @Sendable ([Answer<Value>?]) -> Void

  /// `expected` pieces need not wait for those before them.
  ///
  /// `start` begins the piece with an index; `isShort` says that what is behind it does not
  /// count; `end` gets what all pieces came to, nil where one was not started.
  package init(
    count: Int, window: Int, expected: Int = .max,
    start: @escaping @Sendable (Int, @escaping @Sendable (Answer<Value>) -> Void) -> Void,
    isShort: @escaping @Sendable (Int, Answer<Value>) -> Bool,
    end: @escaping @Sendable ([Answer<Value>?]) -> Void
  ) {
    state = Mutex(State(results: Array(repeating: nil, count: count), expected: expected))
    self.window = window
    self.start = start
    self.isShort = isShort
    self.end = end
  }

  package func run() {
    while let index = nextIndex() {
      start(index) { [self] result in finish(index, result) }
    }
  }

  /// The next piece to start; nil if none may start, which is the end if no piece is under way.
  private func nextIndex() -> Int? {
    let (index, results) = state.withLock { state -> (Int?, [Answer<Value>?]?) in
      let isOver = state.isShort || state.next == state.results.count
      let mayStart = state.next < state.expected || state.atWork == 0
      if !isOver && mayStart && state.atWork < window {
        defer { state.next += 1 }
        state.atWork += 1
        return (state.next, nil)
      }
      guard isOver, state.atWork == 0, !state.isEnded else { return (nil, nil) }
      state.isEnded = true
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
      if falls {
        state.isShort = true
      } else if index >= state.expected {
        state.expected = .max
      }
    }
    run()
  }
}
