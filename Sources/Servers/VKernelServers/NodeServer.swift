import Synchronization
import VObjects
public import VProtocol
public import VRuntime

/// The server of a whole node: tells its host and its state, and times Sends.
///
/// A host's name leads to its node by a question to the node group, so there is no table of hosts
/// that could be wrong: the kernel's own list of its peers' names is only for people.
public final class NodeServer: Sendable {
  fileprivate struct State: Sendable {
    /// How far the clocks of other hosts are ahead of this one's.
    var clocks: [KernelID: TimeSpan] = [:]
    /// The last question to each kernel that has not answered it.
    var asked: [KernelID: Question] = [:]
    /// Samples of all measurements under way.
    var samples: Shares
  }

  fileprivate struct Question: Sendable {
    var askedAt: Time
    var isUnderWay: Bool
  }

  public let server: EntityID
  let backplane: any Backplane
  private let clients: ClientPool
  let kernel: KernelID
  let addresses: @Sendable () -> [String]
  let snapshot: @Sendable () -> NodeSnapshot
  private let startedAt: Time
  private let state: Mutex<State>
  private let asking = JointAsking()

  /// How long the node of a name is waited for.
  private static let findTimeLimit = TimeSpan.seconds(1)
  /// A kernel that does not answer in this time is listed as silent.
  private static let askTimeLimit = TimeSpan.milliseconds(200)
  /// A kernel that was heard more recently counts as alive.
  private static let quietLimit = TimeSpan.seconds(2)
  /// Kernels asked at once.
  private static let questionsMax = 256
  /// All measurements together keep 6.4 MB: a user may have four of the longest under way, even if
  /// their answers never come.
  private static let samplesMax = 1_600_000

  /// `addresses` are those of the node of `kernel` now, for people; none if it has no socket.
  ///
  /// `register` makes the server that every node has under `nodeServerDiscriminator`.
  public init(
    _ backplane: any Backplane, kernel: KernelID,
    addresses: @autoclosure @escaping @Sendable () -> [String],
    register: (@escaping Procedure) -> EntityID,
    snapshot: @escaping @Sendable () -> NodeSnapshot
  ) {
    self.backplane = backplane
    clients = ClientPool(backplane, of: .node)
    self.kernel = kernel
    self.addresses = addresses
    self.snapshot = snapshot
    startedAt = backplane.now
    state = Mutex(State(samples: Shares(capacity: Self.samplesMax, ownHost: backplane.host)))
    let own = LateBound<NodeServer>()
    server = register { own.object?.serve($0) }
    own.bind(self)
    backplane.join(server, group: .nodeGroup)
  }

  private func serve(_ request: Request) {
    switch request.message.mcb.code {
    case PingNode.code:
      backplane.reply(Message(reply: .ok), to: request)
    case FindNode.code:
      backplane.serve(FindNode.self, request) { find in
        let isMeant = find.host.isEmpty || find.host == backplane.host
        // Of the group only the node that is meant answers.
        if isMeant {
          backplane.reply(
            FindNode.Answer(
              server: server, host: backplane.host, wallClock: backplane.wallClock), to: request)
        } else if !request.addressee.isGroup {
          backplane.refuse(.notFound, request)
        }
      }
    case QueryNode.code where !request.addressee.isGroup:
      askPeers { [self] in
        backplane.reply(QueryNode.Answer(text: report()), to: request)
      }
    case EchoSegment.code where !request.addressee.isGroup:
      backplane.serve(EchoSegment.self, request) { echo in
        let data = [UInt8](repeating: 0, count: echo.answerBytes)
        backplane.reply(EchoSegment.Answer(data: data), to: request)
      }
    case MeasureSends.code where !request.addressee.isGroup:
      // A repeated packet would make another host's node measure twice.
      guard request.isLocal else { return backplane.refuse(.noPermission, request) }
      backplane.serve(MeasureSends.self, request) { measure($0, request) }
    default:
      if !request.addressee.isGroup { backplane.refuse(.illegalRequest, request) }
    }
  }

  // MARK: measuring

  private func measure(_ operation: MeasureSends, _ request: Request) {
    let limit = TimeSpan.milliseconds(Int64(operation.limitMilliseconds))
    let deadline = backplane.now + limit
    let count = Int(operation.count)
    let principal = request.principal
    let hasRoom = state.withLock { $0.samples.take(principal, count) }
    guard hasRoom else { return backplane.refuse(.busy, request) }
    find(operation.target, limit: limit) { [self] found in
      switch found {
      case .done(let target, _):
        let measurement = SendMeasurement(
          backplane, operation, to: target, until: deadline)
        measurement.start { [self] answer in
          state.withLock { $0.samples.give(principal, count) }
          backplane.reply(answer, to: request)
        }
      case .refused(let refusal):
        state.withLock { $0.samples.give(principal, count) }
        backplane.refuse(refusal, request)
      }
    }
  }

  /// The entity that is meant.
  ///
  /// If a name is known and nobody answers for it, its host is down.
  private func find(
    _ target: MeasureSends.Target, limit: TimeSpan,
    completion: @escaping @Sendable (Answer<EntityID>) -> Void
  ) {
    switch target {
    case .entity(let entity):
      completion(.done(entity, by: entity))
    // This host is this node, even if another node answers for its name.
    case .host(backplane.host):
      completion(.done(server, by: server))
    case .host(let host):
      let options = SendOptions(timeLimit: min(limit, Self.findTimeLimit))
      clients.send(
        FindNode(host: host), as: "nobody", to: .nodeGroup, at: .memory, options: options
      ) { [self] answer in
        switch answer {
        case .done(let found, let server):
          completion(.done(found.server, by: server))
        case .refused(.userTimeout), .refused(.retransmissionTimeout):
          let isKnown = snapshot().peers.contains { $0.host == host }
          completion(.refused(isKnown ? .retransmissionTimeout : .notFound))
        case .refused(let refusal):
          completion(.refused(refusal))
        }
      }
    }
  }

  // MARK: other kernels

  /// Asks the other kernels for the time of their hosts, once for all callers that want it; the
  /// answers also show which kernels are alive.
  ///
  /// Then calls `completion`. Only a kernel that can be expected to answer is waited for. One that
  /// is known to be silent, or left the last question unanswered and was not heard since, is asked
  /// too.
  func askPeers(completion: @escaping @Sendable () -> Void) {
    asking.join(completion) { [self] in askAll($0) }
  }

  private func askAll(_ completion: @escaping @Sendable () -> Void) {
    let now = backplane.now
    let peers = snapshot().peers
    let known = Set(peers.map(\.kernel))
    let asked = state.withLock { state in
      state.clocks = state.clocks.filter { known.contains($0.key) }
      state.asked = state.asked.filter { known.contains($0.key) }
      return peers.prefix(Self.questionsMax).compactMap { peer in
        state.ask(peer, at: now).map { (kernel: peer.kernel, isAwaited: $0) }
      }
    }
    let awaited = asked.count { $0.isAwaited }
    if awaited == 0 { completion() }
    let left = Countdown(awaited, completion)
    for (kernel, isAwaited) in asked {
      clients.send(
        FindNode(host: ""), as: "nobody", to: .nodeServer(of: kernel), at: .memory,
        options: SendOptions(timeLimit: Self.askTimeLimit)
      ) { [self] answer in
        if case .done(let found, _) = answer {
          noteClock(found.wallClock, of: kernel)
          state.withLock { $0.asked[kernel] = nil }
        } else {
          state.withLock { $0.asked[kernel]?.isUnderWay = false }
        }
        if isAwaited { left.countDown() }
      }
    }
  }

  private func noteClock(_ wallClock: Int64, of kernel: KernelID) {
    guard kernel != self.kernel else { return }
    let ahead = wallClock.subtractingReportingOverflow(backplane.wallClock).partialValue
    state.withLock { $0.clocks[kernel] = TimeSpan(nanoseconds: ahead) }
  }

  // MARK: how this node is

  private func report() -> String {
    let snapshot = snapshot()
    var lines = statusLines(snapshot)
    lines += snapshot.counters.map { "counter \($0.name) \($0.count)" }
    lines += rejectionLines(snapshot)
    let room = Message.segmentBytesMax - lines.reduce(64) { $0 + $1.utf8.count + 1 }
    return (lines + peerLines(snapshot, room: room)).map { $0 + "\n" }.joined()
  }

  func statusLines(_ snapshot: NodeSnapshot) -> [String] {
    let addresses = addresses()
    var lines = [
      "host \(backplane.host)", "kernel \(kernel)", "address \(addresses.first ?? "-")",
      "sealing \(snapshot.isSealing ? "sealed" : "none")",
      "uptime_ms \(uptime)",
    ]
    lines += addresses.dropFirst().prefix(Self.addressesMax).map { "also \($0)" }
    if let holder = snapshot.nameHolder { lines.append("name_holder \(holder)") }
    if let cpu = snapshot.cpu { lines.append("cpu_us \(cpu.nanoseconds / 1000)") }
    if let attached = snapshot.attached {
      lines.append("attached \(attached.count)")
      lines += attached.closings.sorted { $0.key < $1.key }.map { "closed \($0.key) \($0.value)" }
    }
    return lines
  }

  /// Further addresses shown: a host of many containers has hundreds.
  private static let addressesMax = 32

  var uptime: Int64 { (backplane.now - startedAt).nanoseconds / 1_000_000 }

  /// Lines that help to find out why a peer is not heard: configured addresses, and refused
  /// packets.
  func rejectionLines(_ snapshot: NodeSnapshot) -> [String] {
    snapshot.configuredPeers.prefix(64).map { "configured \($0)" }
      + snapshot.rejected.sorted { $0.age < $1.age }.prefix(64).map {
        "rejected \($0.source) \($0.count) \($0.age.nanoseconds / 1_000_000) \($0.reason)"
      }
  }

  func peerLines(_ snapshot: NodeSnapshot, room: Int = .max) -> [String] {
    var room = room
    var lines: [String] = []
    let clocks = state.withLock { $0.clocks }
    var present: Set<String> = []
    // Kernels that were silent come last; they have just been asked. If their host is up with
    // another kernel, they are of an earlier boot.
    let peers = snapshot.peers.filter { peer in
      guard let host = peer.host else { return true }
      if !Self.isQuiet(peer) { present.insert(host) }
      return !Self.isQuiet(peer) || !present.contains(host)
    }
    for (index, peer) in peers.enumerated() {
      let line = Self.line(peer, clocks[peer.kernel])
      room -= line.utf8.count + 1
      guard room >= 0 else {
        lines.append("peers_left_out \(peers.count - index)")
        break
      }
      lines.append(line)
    }
    return lines
  }

  private static func line(_ peer: NodeSnapshot.Peer, _ clock: TimeSpan?) -> String {
    let roundTrip = peer.roundTrip.map { "\($0.nanoseconds / 1000)" } ?? "-"
    let ahead = clock.map { "\($0.nanoseconds / 1_000_000)" } ?? "-"
    let age = peer.age.nanoseconds / 1_000_000
    return "peer \(peer.kernel) \(peer.host ?? "-") \(peer.locator) \(age) \(roundTrip) "
      + "\(peer.isDeaf ? "deaf" : isQuiet(peer) ? "silent" : "alive") \(ahead)"
  }

  private static func isQuiet(_ peer: NodeSnapshot.Peer) -> Bool {
    peer.isSilent || peer.age > quietLimit
  }
}

extension NodeServer.State {
  /// Notes that a kernel is asked now, and returns whether its answer is waited for; nil where the
  /// last question is still under way.
  fileprivate mutating func ask(_ peer: NodeSnapshot.Peer, at now: Time) -> Bool? {
    let last = asked[peer.kernel]
    if last?.isUnderWay == true { return nil }
    asked[peer.kernel] = NodeServer.Question(askedAt: now, isUnderWay: true)
    guard let last else { return !peer.isSilent }
    return !peer.isSilent && peer.age < now - last.askedAt
  }
}

/// Calls `body` when the count reaches zero.
private final class Countdown: Sendable {
  private let left: Atomic<Int>
  private let body: @Sendable () -> Void

  init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    left = Atomic(count)
    self.body = body
  }

  func countDown() {
    if left.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { body() }
  }
}
