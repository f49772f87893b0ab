import CVLinux
import Glibc
import VProtocol
import VRuntime

/// Why a process is no longer attached.
enum AttachEnding: String, Error, Sendable {
  /// It died, or closed its socket.
  case ended
  /// It sent octets that are no frame, or a frame that only nodes send.
  case badFrame
  /// It named an entity as its own that is not.
  case foreignEntity
  /// It sent from a client whose transaction is under way.
  case clientBusy
  /// It does not read what it asked for.
  case notReading
}

/// A Linux process that takes part in V over the node's local socket, as the node sees it.
///
/// Its frames are carried out in order, by one thread at a time. It can hurt nobody but itself:
/// what it may not do is refused, and what no honest process does closes its socket. Its entities
/// end with it.
final class AttachedProcess: Sendable {
  struct State: ~Copyable {
    var entities: [EntityID: Role] = [:]
    /// Requests handed to its servers and not answered, without their segments.
    var requests: [AttachFrame.RequestName: Request] = [:]
    /// Those of `requests` that were sent to groups, oldest first, and perhaps more.
    var groupRequests: [AttachFrame.RequestName] = []
    var isReading = false
    /// More may have come while a thread was reading.
    var hasMore = false
    var ending: AttachEnding?
  }

  enum Role {
    case client(isBusy: Bool)
    case server
  }

  let node: Node
  let rights: AttachRights
  let state = KernelLock(State())
  let output: AttachOutput
  private let socket: Int32
  private let ended: @Sendable (AttachedProcess, AttachEnding) -> Void

  /// As many transactions as one program has under way; a board serves any number with one.
  static let entitiesMax = 1024
  /// Requests that one process has not answered, each a client that waits.
  static let requestsMax = 4096
  /// A member of a group need not answer, so only the newest requests to groups are remembered.
  static let groupRequestsMax = 256
  /// Frames carried out before other events of the node get their turn.
  private static let framesPerTurn = 256

  /// Takes over `socket`.
  ///
  /// `ended` is called once, after all of the process's entities are gone.
  init(
    _ node: Node, socket: Int32, rights: AttachRights,
    ended: @escaping @Sendable (AttachedProcess, AttachEnding) -> Void
  ) {
    self.node = node
    self.socket = socket
    self.rights = rights
    self.ended = ended
    output = AttachOutput(socket, node)
  }

  deinit { close(socket) }

  func start() {
    add(.welcome(node.id, Principal(user: rights.user, host: node.host)))
    node.watch(socket) { [self] in handleReadable() }
  }

  /// Queues a frame that the process has asked for.
  func add(_ frame: AttachFrame) {
    if output.add(frame) == .overflow { breakOff(.notReading) }
  }

  /// Ends the connection, from any thread; the thread that reads does the rest.
  func breakOff(_ ending: AttachEnding) {
    state.withLock { $0.ending = $0.ending ?? ending }
    shutdown(socket, Int32(SHUT_RDWR))
  }

  private func handleReadable() {
    let isMine = state.withLock { state in
      state.hasMore = state.isReading
      defer { state.isReading = true }
      return !state.isReading
    }
    if isMine { readOn() }
  }

  /// Reads until nothing is left; `isReading` keeps all other threads out.
  private func readOn() {
    while true {
      do throws(AttachEnding) {
        guard try readTurn() else {
          node.after(TimeSpan(nanoseconds: 0)) { [self] in readOn() }
          return
        }
      } catch {
        // Stays `isReading`: nobody reads from here on.
        return finish(error)
      }
      let isDone = state.withLock { state in
        defer { state.hasMore = false }
        state.isReading = state.hasMore
        return !state.isReading
      }
      if isDone { return }
    }
  }

  /// Carries out the frames that wait; false if there may be more than are good for one turn.
  private func readTurn() throws(AttachEnding) -> Bool {
    for _ in 0..<Self.framesPerTurn {
      guard let frame = try receive() else { return true }
      try carryOut(frame)
    }
    return false
  }

  private func receive() throws(AttachEnding) -> AttachFrame? {
    var result: Result<AttachFrame?, AttachEnding> = .success(nil)
    // One more than a frame can have, so that a longer one shows.
    unsafe withUnsafeTemporaryAllocation(
      byteCount: AttachFrame.byteCountMax + 1, alignment: 8
    ) { buffer in
      let count = unsafe Int(v_frame_receive(socket, buffer.baseAddress, buffer.count))
      if count == -Int(EAGAIN) { return }
      guard count > 0 else {
        result = .failure(.ended)
        return
      }
      guard count <= AttachFrame.byteCountMax else {
        result = .failure(.badFrame)
        return
      }
      do throws(WireError) {
        let packet = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
        result = .success(
          try AttachFrame(parsing: unsafe RawSpan(_unsafeBytes: packet)))
      } catch {
        result = .failure(.badFrame)
      }
    }
    return try result.get()
  }

  private func finish(_ ending: AttachEnding) {
    node.unwatch(socket)
    shutdown(socket, Int32(SHUT_RDWR))
    output.end()
    let (entities, first) = state.withLock { state in
      let first = state.ending ?? ending
      state.ending = first
      defer {
        state.entities = [:]
        state.requests = [:]
        state.groupRequests = []
      }
      return (Array(state.entities.keys), first)
    }
    for entity in entities { node.retire(entity) }
    ended(self, first)
  }
}
