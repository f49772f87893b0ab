import CVLinux
import Glibc
import Synchronization
import VRuntime

/// The frames on their way to an attached process, in order.
///
/// One thread at a time sends, whichever finds frames and nobody sending; the others only queue.
/// When the socket is full the frames stay here until it has room.
final class AttachOutput: Sendable {
  private enum Phase {
    case idle
    case sending
    /// The socket has no room.
    case blocked
    case ended
  }

  private struct State: ~Copyable {
    var frames: [AttachFrame] = []
    var next = 0
    var phase = Phase.idle

    /// Whether the caller is the one that sends from now on.
    mutating func begin(after expected: Phase) -> Bool {
      guard phase == expected else { return false }
      phase = .sending
      return true
    }

    /// What the thread that sends is to send next, now that `count` more frames are sent.
    mutating func advance(by count: Int) -> AttachFrame? {
      guard phase == .sending else { return nil }
      next += count
      // The array would only grow behind a process that is never quite caught up with.
      if next == frames.count || next >= AttachOutput.framesMax {
        frames.removeFirst(next)
        next = 0
      }
      if frames.isEmpty { phase = .idle }
      return frames.isEmpty ? nil : frames[next]
    }
  }

  private let socket: AttachSocket
  private let node: any Backplane
  /// Becomes readable when the socket has room again; the node's loop only watches for reading.
  private let room: Int32
  private let state = Mutex(State())

  /// Requests for its servers wait for a process in this number; more are told BUSY.
  static let requestsMax = 256
  /// Answers may be as many as its clients, and as many again.
  static let framesMax = requestsMax + 2 * AttachedProcess.entitiesMax

  init(_ socket: AttachSocket, _ node: any Backplane) {
    self.socket = socket
    self.node = node
    room = v_epoll_create()
  }

  deinit { if room >= 0 { close(room) } }

  func start() {
    guard room >= 0 else { return }
    node.watch(room) { [self] in
      _ = v_epoll_wait(room, 0)
      if state.withLock({ $0.begin(after: .blocked) }) { send() }
    }
  }

  /// Queues a frame and sends what the socket takes; false if `limit` frames wait already.
  func add(_ frame: AttachFrame, limit: Int) -> Bool {
    let (isTaken, isMine) = state.withLock { state in
      if state.phase == .ended { return (true, false) }
      guard state.frames.count - state.next < limit else { return (false, false) }
      state.frames.append(frame)
      return (true, state.begin(after: .idle))
    }
    if isMine { send() }
    return isTaken
  }

  /// Nothing more is sent.
  func end() {
    state.withLock { $0 = State(phase: .ended) }
    if room >= 0 { node.unwatch(room) }
  }

  /// Sends until nothing is left or the socket is full.
  private func send() {
    var sent = 0
    while let frame = state.withLock({ $0.advance(by: sent) }) {
      if !socket.trySend(frame) {
        state.withLock { if $0.phase == .sending { $0.phase = .blocked } }
        // Without the second descriptor this process cannot be served further.
        if v_epoll_arm_room(room, socket.descriptor) != 0 { socket.end() }
        return
      }
      // What the process will not read is lost with it: its end of the socket is closed.
      sent = 1
    }
  }
}
