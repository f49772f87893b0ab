package import VStore

/// One stream of a program's output as its keeper holds it: the octets, and who waits for more.
///
/// Positions count from the stream's first octet. The last `keptMax` octets are kept at least, and
/// of a stream that holds its program up also what was not taken: a read at a position says that
/// everything before it was.
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

  /// A node asks for a program no more often at once.
  package static let waitingMax = 2048

  package init(
    holdsUp: Bool, keptMax: Int = StreamRead.keptMax, unreadMax: Int = StreamRead.unreadMax
  ) {
    self.holdsUp = holdsUp
    self.keptMax = keptMax
    self.unreadMax = unreadMax
  }

  private var end: UInt64 { start + UInt64(octets.count) }

  /// How many octets the program may write now; at its end all that it has written is added.
  ///
  /// What it leaves behind holds nobody up, and is held up by nobody.
  package var room: Int {
    guard holdsUp, !isFinished else { return unreadMax }
    return max(0, unreadMax - Int(end - taken))
  }

  package mutating func handleOutput(_ more: some Collection<UInt8>) {
    // Its readers may be slower than what is left behind, and have all up to the end.
    if holdsUp && isFinished { return }
    octets.append(contentsOf: more)
    // In strides, since what is left moves.
    if octets.count >= keptMax + keptMax / 4 { drop(octets.count - keptMax) }
  }

  private mutating func drop(_ count: Int) {
    var count = count
    if holdsUp { count = min(count, Int(clamping: taken) - Int(clamping: start)) }
    guard count > 0 else { return }
    octets.removeFirst(count)
    start += UInt64(count)
  }

  /// There will be no more output of the program itself: whoever has all of it is at the end.
  package mutating func handleEnd() { isFinished = true }

  /// What a read at a position would find.
  package func look(at position: UInt64) -> ProgramLook {
    position < end ? .ready : isFinished ? .ended : .busy
  }

  /// False if so many reads wait that this one cannot.
  package mutating func handleRead(token: UInt32, position: UInt64, count: Int) -> Bool {
    guard waiting.count < Self.waitingMax else { return false }
    taken = max(taken, min(position, end))
    waiting.append(Waiting(token: token, position: position, count: count))
    return true
  }

  /// Whether the read was waiting here.
  package mutating func handleCancel(token: UInt32) -> Bool {
    guard let index = waiting.firstIndex(where: { $0.token == token }) else { return false }
    waiting.remove(at: index)
    return true
  }

  /// Those who read are gone.
  package mutating func handleReadersLost() { waiting.removeAll() }

  /// A read that can be answered, and the answer; nil when all others wait.
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
