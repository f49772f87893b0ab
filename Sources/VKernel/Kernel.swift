public import VProtocol
import VTransport

/// How a server wants its requests.
public enum ServerKind: Sendable {
  /// Each request once; the client is probed first, so that its principal is known.
  case atMostOnce
  /// As they come: every operation may be repeated, and nobody's rights matter.
  case idempotent
}

/// The message kernel of one node, the backplane: entities, groups, Send and Reply, peers.
///
/// One value, entered from any thread behind one lock. It does nothing by itself: time and
/// randomness are arguments, and each entry appends what is to be done to the caller's `Step`.
/// The same code runs on real sockets and in the simulator.
///
/// Read next: `Kernel+Send` (a client's side), `Kernel+Requests` (a server's side),
/// `Kernel+Management` (probes and acknowledgements), `Kernel+Timers`.
public struct Kernel: ~Copyable {
  public let id: KernelID
  /// The name of this host, part of the principal of its clients.
  public let host: String
  public internal(set) var counters = Counters()

  var entities: [EntityID: Entity] = [:]
  var groups: [EntityID: [EntityID]] = [:]
  var records: [RecordKey: ServerTransaction] = [:]
  var peers: [KernelID: Peer] = [:]
  var kernelsByLocator: [Locator: KernelID] = [:]
  /// Earlier boots of hosts that have been heard since: nothing of theirs exists any more.
  var dead: Set<KernelID> = []
  var probes: [TransactionID: Probe] = [:]
  var timers = TimerQueue<TimerKey>()
  /// Whether this kernel has its host's name for itself.
  var conflict: HostNameConflict
  var isNameTimerQueued = false
  /// Questions to kernels whose packets could not be opened.
  var strangers = RateLimit(perSecond: strangersAskedMax)
  private var nextDiscriminator: UInt32 = 16
  private var generator: SplitMix

  /// `entropy` seeds transaction numbers; `id` must be fresh for every boot. `startedAt` is now, in
  /// nanoseconds since 1970.
  public init(id: KernelID, host: String, entropy: UInt64, startedAt: UInt64 = 0) {
    self.id = id
    self.host = host
    conflict = HostNameConflict(own: .init(kernel: id, startedAt: startedAt))
    generator = SplitMix(state: entropy)
  }

  public var manager: EntityID { .manager(of: id) }

  /// When `handleTimers` wants to be called next.
  public var nextDeadline: Time? { timers.first }

  /// Records of remote clients; beyond it new clients are told BUSY.
  static let recordsMax = 65_536
  /// Kernels known at once: far more than a cluster of this kind has.
  static let peersMax = 4096
  /// Probes under way at once: one for each new client.
  static let probesMax = 65_536
  /// Kernels a second that are asked who they are because a packet of theirs could not be opened:
  /// a node that was started anew is found by it, and a flood of such packets costs little.
  static let strangersAskedMax = 10
}

/// A local process as the kernel sees it: client, server, or both.
struct Entity: Sendable {
  var user: String
  var marks: Principal.Marks = []
  /// The number of the last transaction it started.
  var lastTransaction: TransactionID
  var current: ClientTransaction?
  var serverKind: ServerKind?
  /// The earliest entry of this entity in the timer queue.
  var queuedAt: Time?
}

/// Names the record of a remote client: one for its own requests to single entities, and one
/// for each local member of a group that it asked.
struct RecordKey: Hashable, Sendable {
  var client: EntityID
  var member: EntityID

  func _rawHashValue(seed: Int) -> Int {
    client._rawHashValue(seed: member._rawHashValue(seed: seed))
  }
}

extension RecordKey {
  /// The record of a request that a local server was given.
  init(_ request: Request) {
    self.init(
      client: request.client, member: request.addressee.isGroup ? request.server : .none)
  }
}

enum TimerKey: Sendable {
  case client(EntityID)
  case record(RecordKey)
  case probe(TransactionID)
  case silence(KernelID)
  /// A kernel whose host name is not known yet.
  case peerName(KernelID)
  /// This host's own name, while another kernel has it.
  case ownName
}

/// A question to a client's manager, on behalf of a record.
struct Probe: Sendable {
  var record: RecordKey
  var sentAt: Time
}

extension Kernel {
  /// A new client of `user` on this host; `marks` are what the node knows of how the user came.
  public mutating func makeClient(user: String, marks: Principal.Marks = []) -> EntityID {
    let client = makeEntity(user, nil)
    entities[client]!.marks = marks
    return client
  }

  /// A new server; with a well-known discriminator, 2 to 15, it is the one that this kernel has.
  public mutating func makeServer(_ kind: ServerKind, discriminator: UInt32? = nil) -> EntityID {
    precondition(discriminator.map { 2..<16 ~= $0 } ?? true, "2 to 15 are well-known")
    return makeEntity("", kind, discriminator)
  }

  /// Ends a local entity.
  ///
  /// Its own transaction is abandoned without a completion; local clients that wait for it are
  /// told.
  public mutating func retire(_ entity: EntityID, _ step: inout Step) {
    guard let removed = entities.removeValue(forKey: entity) else { return }
    if let current = removed.current { endPending(current) }
    guard removed.serverKind != nil else { return }
    for group in groups.keys { groups[group]?.removeAll { $0 == entity } }
    for (key, record) in records where record.isProcessing && holder(of: record, key) == entity {
      let action = records[key]!.failForward(.outcomeUnknown, at: step.now)
      perform(action, of: key, &step)
    }
    let waiting = entities.filter { _, client in
      guard let current = client.current else { return false }
      return current.holder == entity
        || current.route == .local && current.holder.isGroup && members(of: current.holder).isEmpty
    }
    for client in waiting.keys {
      finish(client, server: .none, Message(reply: .outcomeUnknown), &step)
    }
  }

  /// The local server that works on a remote client's request.
  func holder(of record: ServerTransaction, _ key: RecordKey) -> EntityID {
    if record.holder != .none { return record.holder }
    return key.member == .none ? record.addressee : key.member
  }

  /// Adds a local server to a group.
  public mutating func join(_ server: EntityID, group: EntityID) {
    precondition(group.isGroup && entities[server]?.serverKind != nil, "a server joins a group")
    if groups[group]?.contains(server) == true { return }
    groups[group, default: []].append(server)
  }

  private mutating func makeEntity(
    _ user: String, _ kind: ServerKind?, _ wellKnown: UInt32? = nil
  ) -> EntityID {
    // 28 bits last far longer than a boot: 298,000 a second for 15 minutes before T forbids it.
    precondition(nextDiscriminator < EntityID.discriminatorMax, "out of entity identifiers")
    let entity = EntityID(kernel: id, discriminator: wellKnown ?? nextDiscriminator)
    precondition(entities[entity] == nil, "a well-known server is made once")
    if wellKnown == nil { nextDiscriminator += 1 }
    entities[entity] = Entity(
      user: user, lastTransaction: randomTransaction(), serverKind: kind)
    return entity
  }

  mutating func randomTransaction() -> TransactionID {
    TransactionID(UInt32(truncatingIfNeeded: generator.next()))
  }

  /// The record of a kernel, made if there is none; room for it is what nothing waits for.
  mutating func withPeer<R>(_ kernel: KernelID, at now: Time, _ body: (inout Peer) -> R) -> R {
    if peers.count >= Self.peersMax && peers[kernel] == nil { dropIdlePeers() }
    return body(&peers[kernel, default: Peer(at: now)])
  }

  /// Sends packets to a kernel; what is for one that nobody has heard of is lost.
  func transmit(
    to kernel: KernelID, _ header: PacketHeader, segment: [UInt8] = [],
    mask: DeliveryMask? = nil, _ step: inout Step
  ) {
    guard let locator = peers[kernel]?.locator else { return }
    dispatch(Transmission(to: .peer(kernel, locator), header, segment: segment, mask: mask), &step)
  }

  /// A transaction no longer waits for its kernel.
  mutating func endPending(_ transaction: ClientTransaction) {
    if case .peer(let kernel) = transaction.route { peers[kernel]?.removePending() }
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
