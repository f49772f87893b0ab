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
    var entities: [EntityID: Own] = [:]
    /// Servers among them.
    var serverCount = 0
    /// Who has sent the requests that its servers have not answered.
    var requests: Shares
    /// Those of them that were sent to groups, oldest first, and perhaps more.
    var groupRequests: [AttachFrame.RequestName] = []
    var ending: AttachEnding?
  }

  /// An entity of the process, and what it has.
  struct Own {
    var isServer: Bool
    /// A client whose transaction is under way.
    var isBusy = false
    var groups: [EntityID] = []
    /// Requests handed to a server and not answered, without their segments.
    var requests: [AttachFrame.RequestName: Request] = [:]
  }

  let node: any Backplane
  let rights: AttachRights
  let account: AttachAccount
  let state: Mutex<State>
  let output: AttachOutput
  private let socket: AttachSocket
  private let kernel: KernelID
  private let ended: @Sendable (AttachEnding, _ octets: Int) -> Void
  /// How often the socket became readable; 0 when nothing is left and no thread reads.
  private let arrivals = Atomic(0)

  /// Takes over `socket`.
  ///
  /// `ended` is called once, after all of the process's entities are gone, with the most octets
  /// that ever waited for it.
  init(
    _ node: any Backplane, _ kernel: KernelID, socket: Int32, _ rights: AttachRights,
    _ account: AttachAccount, ended: @escaping @Sendable (AttachEnding, Int) -> Void
  ) {
    self.node = node
    self.kernel = kernel
    self.socket = AttachSocket(socket)
    self.rights = rights
    self.account = account
    self.ended = ended
    output = AttachOutput(self.socket, node, account)
    state = Mutex(State(requests: Self.shares(account.limits, node)))
  }

  func start() {
    add(.welcome(kernel, Principal(user: rights.user, host: node.host, marks: rights.marks)))
    node.watch(socket.descriptor) { [self] in
      // A thread that reads will see that there is more.
      guard arrivals.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 0 else { return }
      account.beginReading()
      read()
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
      // `arrivals` stays: nobody reads from here on.
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

  /// Its user may have another one instead; requests are counted apart.
  func giveBack(_ own: Own) {
    account.entities.give()
    if own.isServer { account.servers.give() }
    account.memberships.give(own.groups.count)
  }
}
