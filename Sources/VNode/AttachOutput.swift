import CVLinux
import Glibc
import VRuntime

/// The frames on their way to an attached process, in order.
///
/// One thread at a time sends, whichever finds frames and nobody sending; the others only queue.
/// When the socket is full the frames stay here until it has room.
final class AttachOutput: Sendable {
  /// What became of a frame.
  enum Outcome {
    case accepted
    /// So much is queued that only what the process asked for is added.
    case full
    /// More than that: the process does not read what it asked for.
    case overflow
  }

  private struct State: ~Copyable {
    var frames: [AttachFrame] = []
    var next = 0
    var isSending = false
    /// Set while the socket has no room.
    var isBlocked = false
    var isWatching = false
    var isEnded = false

    var count: Int { frames.count - next }

    mutating func dropFirst() {
      // `end` may have emptied the queue meanwhile.
      guard next < frames.count else { return }
      next += 1
      // The array would only grow behind a process that is never quite caught up with.
      if next >= AttachOutput.framesMax {
        frames.removeFirst(next)
        next = 0
      }
    }
  }

  private let socket: Int32
  private let node: Node
  /// Becomes readable when the socket has room again; the node's loop only watches for reading.
  private let room: Int32
  private let state = KernelLock(State())

  /// Requests for its servers wait for a process in this number; more are told BUSY.
  static let requestsMax = 256
  /// Answers may be as many as its clients, and as many again.
  static let framesMax = requestsMax + 2 * AttachedProcess.entitiesMax

  /// `socket` stays open as long as this does.
  init(_ socket: Int32, _ node: Node) {
    self.socket = socket
    self.node = node
    room = v_epoll_create()
  }

  deinit { if room >= 0 { close(room) } }

  /// Queues a frame and sends what the socket takes.
  ///
  /// With `mayRefuse` a full queue refuses it.
  func add(_ frame: AttachFrame, mayRefuse: Bool = false) -> Outcome {
    let outcome: Outcome? = state.withLock { state in
      if state.isEnded { return .accepted }
      if mayRefuse && state.count >= Self.requestsMax { return .full }
      if state.count >= Self.framesMax { return .overflow }
      state.frames.append(frame)
      if state.isSending || state.isBlocked { return .accepted }
      state.isSending = true
      return nil
    }
    if let outcome { return outcome }
    send()
    return .accepted
  }

  /// Nothing more is sent.
  func end() {
    let wasWatching = state.withLock { state in
      state.isEnded = true
      state.frames.removeAll()
      state.next = 0
      return state.isWatching
    }
    if wasWatching { node.unwatch(room) }
  }

  /// Sends until nothing is left or the socket is full; the caller has set `isSending`.
  private func send() {
    while true {
      let frame: AttachFrame? = state.withLock { state in
        guard state.next < state.frames.count else {
          state.frames.removeAll(keepingCapacity: true)
          state.next = 0
          state.isSending = false
          return nil
        }
        return state.frames[state.next]
      }
      guard let frame else { return }
      if sendNow(frame) == -EAGAIN {
        // Without the second descriptor this process cannot be served further.
        if block() { return }
      } else {
        // What the process will not read is lost with it: its end of the socket is closed.
        state.withLock { $0.dropFirst() }
      }
    }
  }

  private func sendNow(_ frame: AttachFrame) -> Int32 {
    unsafe withUnsafeTemporaryAllocation(byteCount: frame.byteCount, alignment: 8) { buffer in
      var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
      let size = frame.emit(into: &span)
      return unsafe v_frame_send(socket, buffer.baseAddress, size, 0)
    }
  }

  /// Waits for room in the socket; false where that cannot be.
  private func block() -> Bool {
    guard room >= 0 else {
      shutdown(socket, Int32(SHUT_RDWR))
      return false
    }
    let isFirst = state.withLock { state in
      state.isBlocked = true
      state.isSending = false
      defer { state.isWatching = true }
      return !state.isWatching
    }
    if isFirst {
      node.watch(room) { [self] in handleRoom() }
      if state.withLock({ $0.isEnded }) { node.unwatch(room) }
    }
    _ = v_epoll_arm_room(room, socket)
    return true
  }

  private func handleRoom() {
    _ = v_epoll_wait(room, 0)
    let isMine = state.withLock { state in
      guard state.isBlocked, !state.isEnded else { return false }
      state.isBlocked = false
      state.isSending = true
      return true
    }
    if isMine { send() }
  }
}
