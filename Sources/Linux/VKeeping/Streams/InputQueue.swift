package import VProtocol
package import VStore

/// Input that was written to a program and that it has not read.
///
/// A write is taken, and answered, once it and all unread octets before it are at most `capacity`
/// octets.
package struct InputQueue: Sendable {
  private struct Unanswered {
    var token: UInt32
    var end: UInt64
  }

  private let capacity: Int
  private var pieces: [[UInt8]] = []
  /// Octets of the first piece that the program has already.
  private var offset = 0
  private var received: UInt64 = 0
  /// Octets that were written with a position.
  private var numbered: UInt64 = 0
  private var written: UInt64 = 0
  private var unanswered: [Unanswered] = []
  private var isBroken = false
  private var isEnded = false

  /// The limit of waiting octets, taken or not.
  package static let octetsMax = 64 * KeeperFrame.dataBytesMax

  package init(capacity: Int = 65_536) { self.capacity = capacity }

  /// Queues a write; a code if nothing will be read any more, or too much waits.
  ///
  /// With a position, octets that were written before are skipped, and `outOfRange` means that some
  /// before it are missing. Such a write is answered as if it were the first.
  package mutating func handleWrite(
    token: UInt32, at position: UInt64? = nil, _ octets: [UInt8]
  ) -> ReplyCode? {
    if isBroken || isEnded { return .brokenPipe }
    var octets = octets
    if let position {
      guard position <= numbered else { return .outOfRange }
      octets.removeFirst(Int(min(numbered - position, UInt64(octets.count))))
    }
    if received - written + UInt64(octets.count) > UInt64(Self.octetsMax) { return .busy }
    if !octets.isEmpty { pieces.append(octets) }
    received += UInt64(octets.count)
    if position != nil { numbered += UInt64(octets.count) }
    unanswered.append(Unanswered(token: token, end: received))
    return nil
  }

  /// Nothing more is written: the stream is to be closed when the queue is empty.
  package mutating func handleEnd() { isEnded = true }

  /// What a write of a whole message would find.
  package var look: ProgramLook {
    if isBroken || isEnded { return .ended }
    return received + UInt64(Message.segmentBytesMax) <= written + UInt64(capacity) ? .ready : .busy
  }

  /// What to write next; nil if there is nothing.
  package var head: ArraySlice<UInt8>? { pieces.first?[offset...] }

  package var isToBeClosed: Bool { isBroken || (isEnded && pieces.isEmpty) }

  /// The program's stream took `count` octets of `head`.
  package mutating func handleWritten(_ count: Int) {
    offset += count
    written += UInt64(count)
    if offset == pieces[0].count {
      pieces.removeFirst()
      offset = 0
    }
  }

  /// The program no longer reads.
  package mutating func handleBroken() {
    isBroken = true
    pieces = []
    offset = 0
  }

  /// The writers have ended; their octets are still written.
  package mutating func handleWritersLost() { unanswered.removeAll() }

  /// A write that can be answered, and the answer; nil if all others wait.
  package mutating func nextAnswer() -> (token: UInt32, code: ReplyCode)? {
    guard let first = unanswered.first else { return nil }
    guard isBroken || first.end <= written + UInt64(capacity) else { return nil }
    unanswered.removeFirst()
    return (first.token, isBroken && first.end > written ? .brokenPipe : .ok)
  }
}
