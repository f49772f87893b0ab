package import VStore

/// One stream of a program's output, kept by its keeper: the octets, and the reads that wait for
/// more.
///
/// Positions count from the stream's first octet. The last `keptMax` octets are kept at least, and
/// of a stream that holds its program up also what was not taken: a read at a position says that
/// everything before it was. Such a stream ends with its program. Output of processes that it left
/// behind begins one position after the end.
package struct OutputLog: Sendable {
  private struct Waiting {
    var token: UInt32
    var position: UInt64
    var count: Int
  }

  private let holdsUp: Bool
  private let keptMax: Int
  private let unreadMax: Int
  private var octets = KeptOctets()
  /// What is written behind the end.
  private var left: KeptOctets?
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

  /// How many octets the program may write now; at its end all that it has written is added.
  ///
  /// After its end, processes that it left behind neither wait nor make others wait.
  package var room: Int {
    guard holdsUp, !isFinished else { return unreadMax }
    return max(0, unreadMax - Int(octets.end - taken))
  }

  package mutating func handleOutput(_ more: some Collection<UInt8>) {
    if left != nil {
      left?.append(more, max: keptMax)
    } else {
      octets.append(more, max: keptMax, droppingUpTo: holdsUp ? taken : .max)
    }
  }

  /// There will be no more output of the program itself: whoever has all of it is at the end.
  package mutating func handleEnd() {
    isFinished = true
    if holdsUp, left == nil { left = KeptOctets(from: octets.end + 1) }
  }

  /// Where a read at a position finds something; nil where there is nothing now.
  private func source(of position: UInt64) -> KeptOctets? {
    if position < octets.end { return octets }
    guard let left, position > octets.end, position < left.end else { return nil }
    return left
  }

  /// What a read at a position would find.
  package func look(at position: UInt64) -> ProgramLook {
    source(of: position) != nil ? .ready : isFinished ? .ended : .busy
  }

  /// False if too many reads wait.
  package mutating func handleRead(token: UInt32, position: UInt64, count: Int) -> Bool {
    guard waiting.count < Self.waitingMax else { return false }
    taken = max(taken, min(position, octets.end))
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
      let index = waiting.firstIndex(where: { $0.position < octets.end || isFinished })
    else { return nil }
    let read = waiting.remove(at: index)
    guard let source = source(of: read.position) else { return (read.token, .end) }
    let found = source.read(from: read.position, count: read.count)
    return (read.token, .octets(found.octets, position: found.position))
  }
}
