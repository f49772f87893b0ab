import CVLinux
import Glibc
import Synchronization
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
    var ending: AttachEnding?
  }

  enum Role {
    case client(isBusy: Bool)
    case server
  }

  let node: any Backplane
  let rights: AttachRights
  let state = Mutex(State())
  let output: AttachOutput
  private let socket: AttachSocket
  private let kernel: KernelID
  private let ended: @Sendable (AttachEnding) -> Void
  /// How often the socket became readable; 0 when nothing is left and no thread reads.
  private let arrivals = Atomic(0)

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
    _ node: any Backplane, _ kernel: KernelID, socket: Int32, rights: AttachRights,
    ended: @escaping @Sendable (AttachEnding) -> Void
  ) {
    self.node = node
    self.kernel = kernel
    self.socket = AttachSocket(socket)
    self.rights = rights
    self.ended = ended
    output = AttachOutput(self.socket, node)
  }

  func start() {
    output.start()
    add(.welcome(kernel, Principal(user: rights.user, host: node.host, marks: rights.marks)))
    node.watch(socket.descriptor) { [self] in
      // A thread that reads will see that there is more.
      if arrivals.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 0 { read() }
    }
  }

  /// Queues a frame that the process has asked for.
  func add(_ frame: AttachFrame) {
    if output.add(frame) { return }
    state.withLock { $0.ending = $0.ending ?? .notReading }
    // The thread that reads does the rest.
    socket.end()
  }

  /// Carries out the frames that wait; `arrivals` keeps all other threads out.
  private func read() {
    do throws(AttachEnding) {
      for _ in 0..<Self.framesPerTurn {
        let seen = arrivals.load(ordering: .acquiring)
        switch socket.receive() {
        case .frame(let frame): try carryOut(frame)
        case .end: throw .ended
        case .noFrame: throw .badFrame
        case .nothing:
          let isLeft = arrivals.compareExchange(
            expected: seen, desired: 0, ordering: .acquiringAndReleasing)
          if isLeft.exchanged { return }
        }
      }
      node.after(TimeSpan(nanoseconds: 0)) { [self] in read() }
    } catch {
      // `arrivals` stays: nobody reads from here on.
      finish(error)
    }
  }

  private func finish(_ ending: AttachEnding) {
    node.unwatch(socket.descriptor)
    socket.end()
    output.end()
    let (entities, first) = state.withLock { state in
      let (entities, first) = (Array(state.entities.keys), state.ending ?? ending)
      state = State(ending: first)
      return (entities, first)
    }
    for entity in entities { node.retire(entity) }
    ended(first)
  }
}
