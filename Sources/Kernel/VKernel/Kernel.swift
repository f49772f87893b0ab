public import VProtocol
import VTransport

/// How requests are given to a server.
public enum ServerKind: Sendable {
  /// Each request once; the client is probed first, so that its principal is known.
  case atMostOnce
  /// Every copy of a request: every operation may be repeated, and no rights are checked.
  case idempotent
}

/// The message kernel of one node, the backplane: entities, groups, Send and Reply, peers.
///
/// One value, entered from any thread behind one lock. It does nothing by itself: time and
/// randomness are arguments, and each entry appends actions to the caller's `Step`. The same code
/// runs on real sockets and in the simulator.
///
/// Read next: `Kernel+Send` (the client's side), `Kernel+Requests` (the server's side),
/// `Kernel+Entities` (making and ending entities), `Kernel+Peers` (other kernels and their shares),
/// `Kernel+Management` (probes and acknowledgements), `Kernel+Copies` (networks without multicast),
/// `Kernel+Timers`.
public struct Kernel: ~Copyable {
  public let id: KernelID
  /// The name of this host, part of the principal of its clients.
  public let host: String
  public internal(set) var counters = Counters()

  var entities = Table<EntityID, Entity>()
  var groups: [EntityID: Group] = [:]
  /// By server or group of this kernel: the local clients that wait for it; for a group, those that
  /// asked only the members of this kernel.
  ///
  /// Not in the entity: adding to it would copy the entity.
  var waiting: [EntityID: Backlog<Waiting>] = [:]
  /// By local server: the requests of remote clients that it works on.
  var working: [EntityID: Backlog<Work>] = [:]
  var records = Table<RecordKey, ServerTransaction>()
  var peers = Table<KernelID, Peer>()
  /// The places of kernels that multicast does not reach, from the configuration.
  var configured: [Locator] = []
  /// How many peers there may be before idle ones are dropped.
  var peersMax = Limits.peers
  var places: [Locator: Place] = [:]
  /// Earlier boots of hosts that have been heard since: their entities no longer exist.
  var dead: Set<KernelID> = []
  var whereabouts = Whereabouts()
  /// Entities that are about to leave this kernel.
  var frozen: [EntityID: Frozen] = [:]
  /// The entities that all kernels were asked for last, the oldest first.
  var sought: [(transaction: TransactionID, entity: EntityID)] = []
  var probes: [TransactionID: Probe] = [:]
  /// By their entities: the requests that nested calls are to answer.
  var nested: [EntityID: Request] = [:]
  /// What waits for its time since a group was asked for many answers.
  var postponed: [UInt64: Postponed] = [:]
  var postponedCount: UInt64 = 0
  var timers = TimerQueue<TimerKey>()
  /// How many entries there may be before stale ones are dropped.
  var timersMax = Limits.timers
  var numbers: EntityNumbers
  /// Those of the entities that nested calls are made with.
  var nestedNumbers = EntityNumbers(
    start: EntityID.nestedFirst, in: EntityID.nestedFirst...EntityID.discriminatorMax)
  /// Whether another kernel has this host's name.
  var conflict: HostNameConflict
  var isNameTimerQueued = false
  /// Limits probes of kernels whose packets could not be opened.
  var strangers = RateLimit(perSecond: Limits.strangersAsked)
  /// When this kernel last found that it had been stopped for a while.
  var wokeAt = Time(nanoseconds: 0)
  private var generator: SplitMix

  /// `entropy` seeds transaction numbers; `id` must be new at every boot.
  ///
  /// `startedAt` is now, in nanoseconds since 1970. The numbers of entities start with
  /// `firstNumber`: anywhere in tests of their wrap-around.
  package init(
    id: KernelID, host: String, entropy: UInt64, startedAt: UInt64 = 0,
    firstNumber: UInt32 = EntityNumbers.first
  ) {
    self.id = id
    self.host = host
    numbers = EntityNumbers(start: firstNumber)
    conflict = HostNameConflict(own: .init(kernel: id, startedAt: startedAt))
    generator = SplitMix(state: entropy)
  }

  public var manager: EntityID { .manager(of: id) }

  /// When `handleTimers` wants to be called next.
  public var nextDeadline: Time? { timers.first }
}

/// A local process as the kernel sees it: client, server, or both.
struct Entity: Sendable {
  var user: String
  /// The host of its principal, if it came from another kernel.
  var origin: String?
  var marks: Principal.Marks = []
  /// The highest priority of its messages.
  var priority = Priority.normal
  /// The number of the last transaction it started.
  var lastTransaction: TransactionID
  var current: ClientTransaction?
  var exchanges = Exchanges()
  var serverKind: ServerKind?
  /// The earliest entry of this entity in the timer queue.
  var queuedAt: Time?
  /// The groups that a server has joined.
  var groups: [EntityID] = []

  /// Returns the number of its next transaction, which it starts now, and the highest priority
  /// that it may have.
  mutating func begin() -> (TransactionID, Priority) {
    precondition(current == nil, "one transaction at a time for each client")
    lastTransaction = lastTransaction.next
    return (lastTransaction, priority)
  }

  /// The priority of its message, or the highest that it may have.
  var messagePriority: Priority { current?.priority ?? priority }

  /// Its principal, as a client; a server acts for no user, nor may a nested call.
  func principal(on host: String) -> Principal? {
    serverKind == nil && !user.isEmpty
      ? Principal(user: user, host: origin ?? host, marks: marks) : nil
  }
}

/// A group on this kernel; it exists only while it has members here.
struct Group: Sendable {
  var members: [EntityID] = []
}

enum TimerKey: Sendable {
  case client(EntityID)
  case record(RecordKey)
  case probe(TransactionID)
  case postponed(UInt64)
  case silence(KernelID)
  /// A kernel that may not be at its place.
  case doubt(KernelID)
  /// A kernel whose host name is not known yet.
  case peerName(KernelID)
  /// This host's own name, while another kernel has it.
  case ownName
}

/// A probe of a client's manager, for a record.
struct Probe: Sendable {
  var record: RecordKey
  var asked: KernelID
  /// The kernel that sent the request.
  var payer: KernelID
  var sentAt: Time
}

extension Kernel {
  mutating func randomTransaction() -> TransactionID {
    TransactionID(UInt32(truncatingIfNeeded: generator.next()))
  }

  /// From 0 to just below `span`.
  mutating func random(below span: TimeSpan) -> TimeSpan {
    TimeSpan(nanoseconds: Int64(generator.next() % UInt64(max(span.nanoseconds, 1))))
  }

  /// Sends packets to a kernel; packets for an unknown kernel are lost.
  func transmit(
    to kernel: KernelID, _ header: PacketHeader, segment: [UInt8] = [],
    mask: DeliveryMask? = nil, _ step: inout Step
  ) {
    guard let locator = peers[kernel]?.locator else { return }
    dispatch(Transmission(to: .peer(kernel, locator), header, segment: segment, mask: mask), &step)
  }
}

/// A small, good enough generator: identifiers must differ, not be secret.
struct SplitMix: Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
