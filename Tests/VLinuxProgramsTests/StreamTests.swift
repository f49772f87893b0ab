import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

/// Lets `#expect` contain mutating calls.
private final class Box<Value> {
  var value: Value
  init(_ value: Value) { self.value = value }

  func change<Result>(_ body: (inout Value) -> Result) -> Result { body(&value) }
}

@Suite("Output log")
struct OutputLogTests {
  /// The octet of a position.
  private static func octet(_ position: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: position) }

  private static func octets(_ range: Range<UInt64>) -> [UInt8] { range.map(octet) }

  /// An event of a log.
  private enum Event: CaseIterable {
    case write, writeMuch, readNext, readStart, readBeyond, end
  }

  private static func sequences(_ count: Int) -> [[Event]] {
    guard count > 0 else { return [[]] }
    return sequences(count - 1).flatMap { events in Event.allCases.map { events + [$0] } }
  }

  @Test(
    "no octet is invented, doubled or swapped, and a waiting program loses none",
    arguments: [
      false, true,
    ])
  func allSequences(holdsUp: Bool) {
    for events in Self.sequences(6) { check(events, holdsUp: holdsUp) }
  }

  /// Applies `events` to a log of 8 octets, of which 4 may be unread.
  private func check(_ events: [Event], holdsUp: Bool) {
    let log = Box(OutputLog(holdsUp: holdsUp, keptMax: 8, unreadMax: 4))
    var (written, next, hasEnded) = (UInt64(0), UInt64(0), false)
    var asked: [UInt32: UInt64] = [:]
    func write(_ count: Int) {
      guard !hasEnded else { return }
      let count = UInt64(min(count, log.value.room))
      log.value.handleOutput(Self.octets(written..<(written + count)))
      written += count
      if holdsUp { #expect(written - next <= 4) }
    }
    for (index, event) in events.enumerated() {
      let token = UInt32(index)
      switch event {
      case .write: write(1)
      case .writeMuch: write(4)
      case .readNext: asked[token] = next
      case .readStart: asked[token] = 0
      case .readBeyond: asked[token] = written + 1
      case .end:
        hasEnded = true
        log.value.handleEnd()
      }
      if let position = asked[token] {
        next = max(next, min(position, written))
        #expect(log.change({ $0.handleRead(token: token, position: position, count: 3) }))
      }
      while let (token, read) = log.value.nextAnswer() {
        guard let position = asked.removeValue(forKey: token) else {
          Issue.record("an answer that nobody waits for")
          return
        }
        switch read {
        case .octets(let octets, let found):
          #expect(found >= position && !octets.isEmpty && octets.count <= 3)
          #expect(octets == Self.octets(found..<(found + UInt64(octets.count))))
          if holdsUp && position == next { #expect(found == position) }
          // Only octets that are too old to be kept were skipped.
          if found > position { #expect(found + 8 <= written) }
          if position == next { next = found + UInt64(octets.count) }
        case .end: #expect(hasEnded && position >= written)
        case .cancelled, .lost: Issue.record("\(read)")
        }
      }
      // Only reads that cannot be answered wait.
      for position in asked.values { #expect(position >= written && !hasEnded) }
    }
  }

  /// What a read finds, if it need not wait.
  private static func read(_ log: Box<OutputLog>, _ position: UInt64) -> StreamRead? {
    _ = log.change { $0.handleRead(token: 1, position: position, count: 100) }
    let answer = log.change { $0.nextAnswer() }
    if answer == nil { _ = log.change { $0.handleCancel(token: 1) } }
    return answer?.read
  }

  @Test("what is left behind writes on behind the end, and neither hides it nor goes on for ever")
  func leftBehind() {
    let log = Box(OutputLog(holdsUp: true, keptMax: 8, unreadMax: 4))
    log.value.handleOutput([1, 2, 3])
    log.value.handleEnd()
    #expect(log.value.look(at: 4) == .ended && Self.read(log, 4) == .end)
    log.value.handleOutput([4, 5])
    // Whoever follows the program has it whole, and finds its end where it is.
    #expect(Self.read(log, 0) == .octets([1, 2, 3], position: 0))
    #expect(Self.read(log, 3) == .end && log.value.look(at: 3) == .ended)
    #expect(Self.read(log, 4) == .octets([4, 5], position: 4) && log.value.look(at: 4) == .ready)
    #expect(Self.read(log, 6) == .end && Self.read(log, 5) == .octets([5], position: 5))
    // It holds nobody up, and the last of it are kept.
    for octet in 6...40 as ClosedRange<UInt8> {
      #expect(log.value.room == 4)
      log.value.handleOutput([octet])
    }
    guard case .octets(let kept, let position) = Self.read(log, 4) else {
      Issue.record("nothing is kept")
      return
    }
    #expect(kept.last == 40 && 8...10 ~= kept.count && position == 41 - UInt64(kept.count))
    #expect(Self.read(log, 0) == .octets([1, 2, 3], position: 0))
    // Of a detached program all of it is one log.
    let detached = Box(OutputLog(holdsUp: false))
    detached.value.handleOutput([1])
    detached.value.handleEnd()
    #expect(Self.read(detached, 1) == .end)
    detached.value.handleOutput([2])
    #expect(Self.read(detached, 1) == .octets([2], position: 1))
  }

  @Test("a cancelled read is not answered, and its octets are there for the next")
  func cancel() {
    let log = Box(OutputLog(holdsUp: true))
    #expect(log.change({ $0.handleRead(token: 1, position: 0, count: 10) }))
    #expect(log.change({ $0.handleCancel(token: 1) }))
    #expect(!log.change({ $0.handleCancel(token: 1) }))
    log.value.handleOutput([1, 2])
    #expect(log.change({ $0.nextAnswer() }) == nil)
    #expect(log.change({ $0.handleRead(token: 2, position: 0, count: 10) }))
    let answer = log.value.nextAnswer()
    #expect(answer?.token == 2 && answer?.read == .octets([1, 2], position: 0))
  }

  @Test("reads wait in a bounded number")
  func bound() {
    let log = Box(OutputLog(holdsUp: false))
    for token in 0..<UInt32(OutputLog.waitingMax) {
      #expect(log.change({ $0.handleRead(token: token, position: 0, count: 1) }))
    }
    #expect(!log.change({ $0.handleRead(token: 1 << 30, position: 0, count: 1) }))
  }
}

@Suite("Input queue")
struct InputQueueTests {
  @Test("a write is taken once what is before the program fits, in order")
  func capacity() {
    let queue = Box(InputQueue(capacity: 4))
    #expect(queue.change({ $0.handleWrite(token: 1, [1, 2, 3]) }) == nil)
    #expect(queue.change({ $0.handleWrite(token: 2, [4, 5, 6]) }) == nil)
    #expect(queue.change({ $0.handleWrite(token: 3, []) }) == nil)
    #expect(queue.change({ $0.nextAnswer() }).map { $0.token } == 1)
    #expect(queue.change({ $0.nextAnswer() }) == nil)
    queue.value.handleWritten(2)
    #expect(queue.value.head == [3])
    let answers = (queue.value.nextAnswer(), queue.value.nextAnswer())
    #expect(answers.0?.token == 2 && answers.1?.token == 3 && answers.1?.code == .ok)
    queue.value.handleWritten(1)
    #expect(queue.value.head == [4, 5, 6])
  }

  @Test("a write with a position is queued once, however often it comes")
  func repeated() {
    let queue = Box(InputQueue())
    func write(_ position: UInt64?, _ octets: [UInt8]) -> ReplyCode? {
      queue.change { $0.handleWrite(token: 1, at: position, octets) }
    }
    #expect(write(0, [1, 2, 3]) == nil && write(0, [1, 2, 3]) == nil)
    // Writes without a position are counted separately.
    #expect(write(nil, [9]) == nil)
    #expect(write(1, [2, 3, 4, 5]) == nil && write(5, []) == nil)
    #expect(write(6, [7]) == .outOfRange)
    #expect(write(5, [6]) == nil)
    var taken: [UInt8] = []
    while let head = queue.value.head {
      taken += head
      queue.value.handleWritten(head.count)
    }
    #expect(taken == [1, 2, 3, 9, 4, 5, 6])
    var answers = 0
    while let answer = queue.change({ $0.nextAnswer() }) {
      #expect(answer.code == .ok)
      answers += 1
    }
    #expect(answers == 6)
  }

  @Test("the end comes after what was written")
  func end() {
    let queue = Box(InputQueue())
    #expect(queue.change({ $0.handleWrite(token: 1, [1]) }) == nil)
    queue.value.handleEnd()
    #expect(!queue.value.isToBeClosed)
    #expect(queue.change({ $0.handleWrite(token: 2, [2]) }) == .brokenPipe)
    queue.value.handleWritten(1)
    #expect(queue.value.isToBeClosed && queue.value.head == nil)
  }

  @Test("a write that will not be read is answered so, unless it was read")
  func broken() {
    let queue = Box(InputQueue(capacity: 1))
    for token in 1...3 as ClosedRange<UInt32> {
      #expect(queue.change({ $0.handleWrite(token: token, [1, 2]) }) == nil)
    }
    queue.value.handleWritten(2)
    queue.value.handleBroken()
    let codes = (0..<3).map { _ in queue.value.nextAnswer()?.code }
    #expect(codes == [.ok, .brokenPipe, .brokenPipe])
    #expect(
      queue.change({ $0.nextAnswer() }) == nil && queue.value.head == nil
        && queue.value.isToBeClosed)
  }

  @Test("the waiting input is bounded, and is still written when its writers have ended")
  func bound() {
    let queue = Box(InputQueue())
    let piece = [UInt8](repeating: 0, count: KeeperFrame.dataBytesMax)
    for token in 0..<UInt32(InputQueue.octetsMax / piece.count) {
      #expect(queue.change({ $0.handleWrite(token: token, piece) }) == nil)
    }
    #expect(queue.change({ $0.handleWrite(token: 99, [1]) }) == .busy)
    queue.value.handleWritersLost()
    #expect(queue.change({ $0.nextAnswer() }) == nil && queue.value.head?.count == piece.count)
  }
}
