import CVLinux
import Glibc
import Synchronization
import VLoop
public import VProtocol
public import VTransport

/// The machine a node runs on: one event loop shared by as many workers as there are CPUs.
///
/// The worker that is woken does the whole work of an event: nothing on the path of a short message
/// switches threads. Without sockets the node is local to its host.
public final class LinuxMachine: Machine {
  private let sockets: Sockets?
  private let turns = KernelLock(SocketTurns())
  private let loop: EventLoop
  private let pool = WorkThreads()
  private let rejected = KernelLock<[Rejection: (count: Int, last: Time)]>([:])
  private let networkWatch = KernelLock<(@Sendable () -> Void)?>(nil)
  /// Held while the networks are asked for and followed: an older answer must not replace a newer
  /// one, on another worker.
  private let following = Mutex(())
  private let multicasts = KernelLock<(own: Int, others: Int)>((0, 0))

  /// Opens the sockets of a node that has the cluster key: at one address of its host or, without
  /// `named`, at all of them.
  public convenience init(
    named: IPAddress?, port: UInt16, groupPort: UInt16
  ) throws(SocketError) {
    try self.init(sockets: Sockets(named: named, port: port, groupPort: groupPort))
  }

  /// The machine of a node without a network: it opens no network socket.
  public convenience init() throws(SocketError) { try self.init(sockets: nil) }

  private init(sockets: Sockets?) throws(SocketError) {
    self.sockets = sockets
    guard let loop = EventLoop() else {
      throw SocketError(description: "cannot make the node's event loop: out of descriptors")
    }
    self.loop = loop
  }

  /// Where the node is now: its addresses, with the port of its unicast socket.
  public var places: [Locator] { sockets?.places ?? [] }

  /// Calls `body` when the host's networks or its addresses have changed; the last of several
  /// watches holds.
  public func watchNetworks(_ body: @escaping @Sendable () -> Void) {
    networkWatch.withLock { $0 = body }
  }

  /// The source of packets that were refused, and the reason.
  public struct Rejection: Hashable, Sendable {
    public var source: Locator
    public var reason: String
  }

  /// Refused packets, by their latest sources: how many, and when the last one came.
  public var rejectedPackets: [Rejection: (count: Int, last: Time)] { rejected.withLock { $0 } }

  /// Packets that came to a group address: from this node itself, and from all others.
  public var multicastsHeard: (own: Int, others: Int) { multicasts.withLock { $0 } }

  private static let rejectionsMax = 256

  /// Starts the workers of `node`; returns at once.
  public func run(_ node: Node) {
    if let sockets {
      // Otherwise any local user could send it clear packets, as anybody.
      precondition(node.isSealing, "a node without the cluster key has no network socket")
      loop.watch(sockets.unicast) { [self] in
        receive(from: sockets.unicast, of: sockets, for: node)
      } errors: {
        sockets.readReports { node.handleUnreachable(at: $0) }
      }
      for socket in sockets.groups { watch(socket, of: sockets, for: node) }
      watchChanges(of: sockets, for: node)
    }
    loop.start(
      threads: max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN))), name: "v-worker",
      handleDeadline: { node.handleTimers() })
  }

  /// The handler keeps the socket open as long as a worker is in it.
  private func watch(_ socket: GroupSocket, of sockets: Sockets, for node: Node) {
    watch(socket.descriptor) { [self] in
      receive(from: socket.descriptor, isGroups: true, of: sockets, for: node)
    }
  }

  /// Follows the networks and addresses of the host for as long as the process lives.
  private func watchChanges(of sockets: Sockets, for node: Node) {
    let changes = v_route_open()
    guard changes >= 0 else { return }
    watch(changes) { [self] in
      v_route_drain(changes)
      follow(sockets, for: node)
    }
    // What has changed before.
    follow(sockets, for: node)
  }

  /// Others learn from an announcement where the node is now; a second one is for a network that
  /// loses packets at first.
  private func follow(_ sockets: Sockets, for node: Node) {
    let isChanged: Bool? = following.withLock { _ in
      guard let (old, new) = sockets.follow() else { return nil }
      for socket in old { unwatch(socket.descriptor) }
      for socket in new { watch(socket, of: sockets, for: node) }
      return !old.isEmpty || !new.isEmpty
    }
    guard let isChanged else {
      return after(Self.askedAgain) { [self] in follow(sockets, for: node) }
    }
    guard isChanged else { return }
    node.announce()
    after(Self.announcedAgain) { node.announce() }
    networkWatch.withLock { $0 }?()
  }

  private static let announcedAgain = TimeSpan.seconds(1)
  /// When Linux is asked again that could not tell which networks there are.
  private static let askedAgain = TimeSpan.seconds(1)

  private func receive(
    from socket: Int32, isGroups: Bool = false, of sockets: Sockets, for node: Node
  ) {
    guard turns.withLock({ $0.begin(socket) }) else { return }
    var refused = 0
    let (packets, isEmptied) = unsafe sockets.drain(
      socket, into: node.contexts.current.received, packetsMax: SocketTurns.packetsMax
    ) { packets, stride, locator in
      // Empty packets only test whether a node has this port.
      guard unsafe !packets.isEmpty else { return }
      if isGroups {
        multicasts.withLock { $0.others += (packets.count + stride - 1) / stride }
      }
      unsafe node.handlePackets(
        packets, stride: stride, from: locator, isMulticast: isGroups
      ) { error in
        guard error != .ownMulticast else {
          if isGroups {
            multicasts.withLock { ($0.own, $0.others) = ($0.own + 1, $0.others - 1) }
          }
          return
        }
        refused += 1
        // Who is in two networks of this host, has two versions of IP, or also sends copies of its
        // multicasts, is heard twice.
        let isRepeated = unsafe isGroups || Self.isMulticast(packets)
        guard !isRepeated || error != .replayed else { return }
        reject(error, locator)
      }
    }
    let again = turns.withLock {
      $0.end(socket, packets: packets, refused: refused, isEmptied: isEmptied)
    }
    for socket in again { loop.watchAgain(socket) }
  }

  private static func isMulticast(_ packet: UnsafeMutableRawBufferPointer) -> Bool {
    unsafe SealedPacket.isMulticast(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet)))
  }

  private func reject(_ error: WireError, _ source: Locator) {
    var reason = "\(error)"
    if case .truncated = error { reason = "truncated" }
    let now = now
    rejected.withLock { rejected in
      let key = Rejection(source: source, reason: reason)
      if rejected.count >= Self.rejectionsMax, rejected[key] == nil,
        let oldest = rejected.min(by: { $0.value.last < $1.value.last })
      {
        rejected[oldest.key] = nil
      }
      rejected[key] = ((rejected[key]?.count ?? 0) + 1, now)
    }
  }

  // MARK: Machine

  public var now: Time { Time(nanoseconds: EventLoop.now) }
  public var wallClock: Int64 { EventLoop.wallClock }

  public func random() -> UInt64 {
    var generator = SystemRandomNumberGenerator()
    return generator.next()
  }

  public func transmit(
    _ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination
  ) {
    unsafe sockets?.send(packets, stride: stride, to: destination)
  }

  public func listen(to group: EntityID) { sockets?.listen(to: group) }

  public func wake(at time: Time) { loop.wake(at: time.nanoseconds) }

  public func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    loop.watch(descriptor, handler)
  }

  public func unwatch(_ descriptor: Int32) { loop.unwatch(descriptor) }

  public func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    loop.after(nanoseconds: span.nanoseconds, body)
  }

  /// The priority of other hosts' users.
  private static let servedHere = Priority.normal.onOtherHost

  /// If another worker waits for events, the work runs on this one, because passing it on takes
  /// longer than most of it.
  ///
  /// Else it goes to the pool, and so does work that is in the background on its own host: while it
  /// waits for the disk, a worker would be missing.
  public func disk(
    _ priority: Priority, mayRunHere: Bool, _ work: @escaping @Sendable () -> Void
  ) {
    if mayRunHere, priority >= Self.servedHere, loop.isCurrent && loop.hasIdleThread {
      work()
    } else {
      pool.add(priority, work)
    }
  }
}
