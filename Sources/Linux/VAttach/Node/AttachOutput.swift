import CVLinux
import Glibc
import Synchronization
import VProtocol
import VRuntime

/// The frames to be sent to an attached process, in order.
///
/// One thread at a time sends: the first that finds frames while no thread sends; the others only
/// queue. When the socket is full the frames stay here until it has room.
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
    /// The largest number of octets so far.
    var peak = 0
    var phase = Phase.idle
    /// The octets of requests by their senders: no sender fills the room for requests alone.
    var requests: Shares

    /// An epoll set that signals room in the socket; made when the socket was full for the first
    /// time.
    var room: Int32 = -1

    /// Whether the caller is the thread that sends from now on.
    mutating func begin(after expected: Phase) -> Bool {
      guard phase == expected else { return false }
      phase = .sending
      return true
    }
  }

  private let socket: AttachSocket
  private let node: any Backplane
  private let account: AttachAccount
  private let state: Mutex<State>

  /// The room for unread frames: a number of them, and one more if they have fewer octets.
  struct Room {
    var frames: Int
    var octets: Int
  }

  /// The room for unread requests to its servers; further ones are answered BUSY.
  let requestRoom: Room
  /// The room for unread answers: two for each of its clients.
  private let answerRoom: Room

  init(_ socket: AttachSocket, _ node: any Backplane, _ account: AttachAccount) {
    self.socket = socket
    self.node = node
    self.account = account
    let limits = account.limits
    requestRoom = Room(frames: limits.requestFrames, octets: limits.requestOctets)
    answerRoom = Room(frames: limits.frames, octets: limits.octets)
    state = Mutex(
      State(requests: Shares(capacity: limits.requestOctets, ownHost: node.host)))
  }

  deinit {
    let room = state.withLock { $0.room }
    if room >= 0 { close(room) }
  }

  /// Queues a frame and sends what the socket takes; false if there is no room.
  func add(_ frame: AttachFrame) -> Bool { add(frame, in: answerRoom) }

  func add(_ frame: AttachFrame, in room: Room) -> Bool {
    let (isTaken, isMine) = state.withLock { state in
      if state.phase == .ended { return (true, false) }
      let cost = cost(of: frame)
      // A process may have no more of its user's share than it leaves for the user's other
      // processes.
      guard state.frames.count - state.next < room.frames, state.octets < room.octets,
        state.octets <= account.octets.left, take(cost, for: frame, &state.requests)
      else { return (false, false) }
      state.frames.append(frame)
      state.octets += cost
      state.peak = max(state.peak, state.octets)
      return (true, state.begin(after: .idle))
    }
    if isMine { send() }
    return isTaken
  }

  /// Whether the process's user, and for a request its sender, may have so much more here.
  private func take(_ cost: Int, for frame: AttachFrame, _ requests: inout Shares) -> Bool {
    guard case .invoke(let request) = frame else { return account.octets.take(cost) }
    guard requests.take(request.principal, cost) else { return false }
    if account.octets.take(cost) { return true }
    requests.give(request.principal, cost)
    return false
  }

  private func give(_ cost: Int, of frame: AttachFrame, _ requests: inout Shares) {
    account.octets.give(cost)
    if case .invoke(let request) = frame { requests.give(request.principal, cost) }
  }

  private func cost(of frame: AttachFrame) -> Int {
    frame.byteCount + account.limits.frameOverhead
  }

  /// Drops all frames and sends no more; returns the largest number of octets so far.
  func end() -> Int {
    let (room, peak) = state.withLock { state in
      account.octets.give(state.octets)
      let (room, peak) = (state.room, state.peak)
      let none = Shares(capacity: state.requests.capacity, ownHost: node.host)
      state = State(phase: .ended, requests: none, room: room)
      return (room, peak)
    }
    if room >= 0 { node.unwatch(room) }
    return peak
  }

  /// Sends until nothing is left or the socket is full.
  private func send() {
    var sent = 0
    while let frame = advance(by: sent) {
      if !socket.trySend(frame) { return waitForRoom() }
      // The process has closed its end: what it did not read is lost.
      sent = 1
    }
  }

  /// The frame that the sending thread sends next, after `count` (0 or 1) more frames are sent.
  private func advance(by count: Int) -> AttachFrame? {
    state.withLock { state -> AttachFrame? in
      guard state.phase == .sending else { return nil }
      if count > 0 {
        let sent = state.frames[state.next]
        let cost = cost(of: sent)
        state.octets -= cost
        give(cost, of: sent, &state.requests)
        state.next += count
      }
      if state.next == state.frames.count {
        // A burst that has been read keeps no memory.
        state.frames.removeAll(keepingCapacity: state.next < account.limits.sentFrames / 8)
        (state.next, state.phase) = (0, .idle)
        return nil
      }
      // Otherwise the array would grow for a process that never reads everything.
      if state.next >= account.limits.sentFrames {
        state.frames.removeFirst(state.next)
        state.next = 0
      }
      return state.frames[state.next]
    }
  }

  /// The socket is full.
  ///
  /// The node's loop watches only for reading, so it watches an epoll set with the socket alone,
  /// which becomes readable when the socket has room.
  private func waitForRoom() {
    let (room, isNew) = state.withLock { state in
      guard state.phase == .sending else { return (Int32(-1), false) }
      let isNew = state.room < 0
      if isNew { state.room = v_epoll_create() }
      state.phase = .blocked
      return (state.room, isNew)
    }
    guard room >= 0 else {
      // Without the second descriptor this process cannot be served further.
      return socket.end()
    }
    if isNew {
      node.watch(room) { [self] in
        _ = v_epoll_wait(room, 0)
        if state.withLock({ $0.begin(after: .blocked) }) { send() }
      }
      // It may have ended before it was watched.
      if state.withLock({ $0.phase == .ended }) { return node.unwatch(room) }
    }
    if v_epoll_arm_room(room, socket.descriptor) != 0 { socket.end() }
  }
}
