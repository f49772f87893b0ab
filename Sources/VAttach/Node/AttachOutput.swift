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
    /// Of the frames from `next` on.
    var octets = 0
    var phase = Phase.idle

    /// Whether the caller is the one that sends from now on.
    mutating func begin(after expected: Phase) -> Bool {
      guard phase == expected else { return false }
      phase = .sending
      return true
    }

    /// What the thread that sends is to send next, now that `count` (0 or 1) more frames are sent.
    mutating func advance(by count: Int) -> AttachFrame? {
      guard phase == .sending else { return nil }
      if count > 0 { octets -= frames[next].byteCount }
      next += count
      // The array would only grow behind a process that is never quite caught up with.
      if next == frames.count || next >= AttachOutput.sentMax {
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

  /// What a process has not read: so many frames, and one more if they have fewer octets.
  struct Room {
    var frames: Int
    var octets: Int
  }

  /// Requests for its servers wait for a process in this room; more are told BUSY.
  static let requestRoom = Room(frames: 4096, octets: 4 << 20)
  /// Answers may be as many as its clients, and as many again.
  static let room = Room(
    frames: requestRoom.frames + 2 * AttachedProcess.entitiesMax, octets: 36 << 20)
  /// Frames that are sent and still kept.
  static let sentMax = 2048

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

  /// Queues a frame and sends what the socket takes; false if there is no room.
  func add(_ frame: AttachFrame, in room: Room = AttachOutput.room) -> Bool {
    let (isTaken, isMine) = state.withLock { state in
      if state.phase == .ended { return (true, false) }
      guard state.frames.count - state.next < room.frames, state.octets < room.octets else {
        return (false, false)
      }
      state.frames.append(frame)
      state.octets += frame.byteCount
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
