package import VStore

/// One stream of a program's output, kept by its keeper: the octets, and the reads that wait for
/// more.
///
/// Positions count from the stream's first octet. At least the last `keptMax` octets are kept; if
/// the program waits for its readers, also those that are unconfirmed: a read at a position
/// confirms everything before it.
package struct OutputLog: Sendable {
  private struct Waiting {
    var token: UInt32
    var position: UInt64
    var count: Int
  }

  private let holdsUp: Bool
  private let keptMax: Int
  private let unreadMax: Int
  private var octets: [UInt8] = []
  /// The position of the first of `octets`.
  private var start: UInt64 = 0
  private var taken: UInt64 = 0
  private var isFinished = false
  private var waiting: [Waiting] = []

  /// A node has no more reads of a program under way at once.
  package static let waitingMax = 2048

  package init(
    holdsUp: Bool, keptMax: Int = StreamRead.keptMax, unreadMax: Int = StreamRead.unreadMax
  ) {
    self.holdsUp = holdsUp
    self.keptMax = keptMax
    self.unreadMax = unreadMax
  }

  private var end: UInt64 { start + UInt64(octets.count) }

  /// How many octets the program may write now; when it ends, all its output is added.
  ///
  /// After its end, processes that it left behind neither wait nor make others wait.
  package var room: Int {
    guard holdsUp, !isFinished else { return unreadMax }
    return max(0, unreadMax - Int(end - taken))
  }

  package mutating func handleOutput(_ more: some Collection<UInt8>) {
    // Readers get everything up to the end, even if they are slower than processes left behind.
    if holdsUp && isFinished { return }
    octets.append(contentsOf: more)
    // In large steps, because the rest is moved.
    if octets.count >= keptMax + keptMax / 4 { drop(octets.count - keptMax) }
  }

  private mutating func drop(_ count: Int) {
    var count = count
    if holdsUp { count = min(count, Int(clamping: taken) - Int(clamping: start)) }
    guard count > 0 else { return }
    octets.removeFirst(count)
    start += UInt64(count)
  }

  /// The program has ended and writes no more: a reader that has everything is at the end.
  package mutating func handleEnd() { isFinished = true }

  /// False if too many reads wait.
  package mutating func handleRead(token: UInt32, position: UInt64, count: Int) -> Bool {
    guard waiting.count < Self.waitingMax else { return false }
    taken = max(taken, min(position, end))
    waiting.append(Waiting(token: token, position: position, count: count))
    return true
  }

  /// Whether the read was waiting.
  package mutating func handleCancel(token: UInt32) -> Bool {
    guard let index = waiting.firstIndex(where: { $0.token == token }) else { return false }
    waiting.remove(at: index)
    return true
  }

  /// The readers have ended.
  package mutating func handleReadersLost() { waiting.removeAll() }

  /// A read that can be answered, and the answer; nil if all others wait.
  package mutating func nextAnswer() -> (token: UInt32, read: StreamRead)? {
    guard
      let index = waiting.firstIndex(where: { $0.position < end || isFinished })
    else { return nil }
    let read = waiting.remove(at: index)
    guard read.position < end else { return (read.token, .end) }
    let position = max(read.position, start)
    let first = Int(position - start)
    let last = min(octets.count, first + read.count)
    return (read.token, .octets(Array(octets[first..<last]), position: position))
  }
}
