import Glibc
import Synchronization
import VProtocol
import VRuntime

/// Why a process is no longer attached.
enum AttachEnding: String, Error, Sendable {
  /// It died, or closed its socket.
  case ended
  /// It sent octets that are not a frame, or a frame that only nodes send.
  case badFrame
  /// It used an entity that is not its own.
  case foreignEntity
  /// It sent from a client whose transaction is under way.
  case clientBusy
  /// It does not read its answers.
  case notReading
}

/// A Linux process that is attached over the node's local socket, as the node sees it.
///
/// Its frames are carried out in order, by one thread at a time. It can harm only itself:
/// operations beyond its rights are refused, and operations that no correct process makes close its
/// socket. Its entities end with it.
final class AttachedProcess: Sendable {
  struct State: ~Copyable {
    var entities: [EntityID: Own] = [:]
    /// How many of them are servers.
    var serverCount = 0
    /// The senders of requests that its servers have not answered.
    var requests: Shares
    /// The requests to groups, oldest first; some may be answered already.
    var groupRequests: [AttachFrame.RequestName] = []
    var ending: AttachEnding?
  }

  /// An entity of the process, with its state.
  struct Own {
    var isServer: Bool
    /// A client whose transaction is under way.
    var isBusy = false
    var groups: [EntityID] = []
    /// Requests given to a server and not answered, without their segments.
    var requests: [AttachFrame.RequestName: Request] = [:]
  }

  let node: any Backplane
  let rights: AttachRights
  let account: AttachAccount
  let state: Mutex<State>
  let output: AttachOutput
  /// Its number and name when it was attached: `1234.cat`.
  let program: String
  private let socket: AttachSocket
  private let kernel: KernelID
  private let ended: @Sendable (AttachEnding, _ octets: Int) -> Void
  /// How often the socket became readable; 0 when it is empty and no thread reads.
  private let arrivals = Atomic(0)

  /// Takes over `socket`.
  ///
  /// `ended` is called once, when all of the process's entities have ended, with the largest number
  /// of octets that waited for it.
  init(
    _ node: any Backplane, _ kernel: KernelID, socket: Int32, program: String,
    _ rights: AttachRights, _ account: AttachAccount,
    ended: @escaping @Sendable (AttachEnding, Int) -> Void
  ) {
    self.node = node
    self.kernel = kernel
    self.socket = AttachSocket(socket)
    self.program = program
    self.rights = rights
    self.account = account
    self.ended = ended
    output = AttachOutput(self.socket, node, account)
    state = Mutex(State(requests: Self.shares(account.limits, node)))
  }

  func start() {
    add(.welcome(kernel, Principal(user: rights.user, host: node.host, marks: rights.marks)))
    node.watch(socket.descriptor) { [self] in
      // The thread that reads sees that there is more.
      guard arrivals.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 0 else { return }
      account.beginReading()
      read()
    }
  }

  /// Queues a frame that answers the process.
  func add(_ frame: AttachFrame) {
    if output.add(frame) { return }
    state.withLock { $0.ending = $0.ending ?? .notReading }
    // The thread that reads does the rest.
    socket.end()
  }

  /// Carries out the frames that wait; `arrivals` excludes all other threads.
  private func read() {
    do throws(AttachEnding) {
      for _ in 0..<account.framesOfTurn {
        let seen = arrivals.load(ordering: .acquiring)
        switch socket.receive() {
        case .frame(let frame): try carryOut(frame)
        case .end: throw .ended
        case .noFrame: throw .badFrame
        case .nothing:
          let isLeft = arrivals.compareExchange(
            expected: seen, desired: 0, ordering: .acquiringAndReleasing)
          if isLeft.exchanged { return account.endReading() }
        }
      }
      node.after(TimeSpan(nanoseconds: 0)) { [self] in read() }
    } catch {
      // `arrivals` stays: no thread reads from here on.
      finish(error)
    }
  }

  private func finish(_ ending: AttachEnding) {
    account.endReading()
    node.unwatch(socket.descriptor)
    socket.end()
    let peak = output.end()
    let (entities, requests, first) = state.withLock { state in
      let (entities, first) = (state.entities, state.ending ?? ending)
      let requests = state.requests.count
      state = State(requests: Self.shares(account.limits, node), ending: first)
      return (entities, requests, first)
    }
    for (entity, own) in entities {
      node.retire(entity)
      giveBack(own)
    }
    account.requests.give(requests)
    ended(first, peak)
  }

  private static func shares(_ limits: AttachLimits, _ node: any Backplane) -> Shares {
    Shares(capacity: limits.requestsOfProcess, ownHost: node.host)
  }

  /// The user may have another entity instead; requests are counted separately.
  func giveBack(_ own: Own) {
    account.entities.give()
    if own.isServer { account.servers.give() }
    account.memberships.give(own.groups.count)
  }
}
