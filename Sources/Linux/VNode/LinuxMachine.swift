import CVLinux
import Glibc
import Synchronization
import VLoop
public import VProtocol
public import VTransport

/// The machine of a node: one epoll set, shared by as many workers as there are CPUs.
///
/// The worker that is woken does the whole work of an event: nothing on the path of a short message
/// switches threads. Without sockets the node is local to its host.
public final class LinuxMachine: Machine {
  struct State: ~Copyable {
    var watchers: [Int32: @Sendable () -> Void] = [:]
    var timers = TimerQueue<@Sendable () -> Void>()
    var nodeDeadline: Time?
    var armed: Time?
  }

  private let sockets: Sockets?
  private let turns = KernelLock(SocketTurns())
  private let epoll: Int32
  private let timer: Int32
  private let state = KernelLock(State())
  private let pool = WorkThreads()
  /// Workers that wait for an event.
  private let waiting = Atomic(0)
  /// The receive buffer of each thread that is a worker.
  private let worker: pthread_key_t
  private let rejected = KernelLock<[Rejection: (count: Int, last: Time)]>([:])
  private let multicasts = KernelLock<(own: Int, others: Int)>((0, 0))

  /// Opens the sockets at an IPv4 address in host byte order, for a node that has the cluster key.
  ///
  /// Multicasts are also sent to each of `peers`.
  public convenience init(
    address: UInt32, port: UInt16, groupPort: UInt16, peers: [(address: UInt32, port: UInt16)] = []
  ) throws(SocketError) {
    try self.init(
      sockets: Sockets(
        address: address, port: port, groupPort: groupPort,
        peers: Self.locators(peers)))
  }

  /// From now on multicasts are also sent to each of these; has no effect without sockets.
  public func setPeers(_ peers: [(address: UInt32, port: UInt16)]) {
    sockets?.setPeers(Self.locators(peers))
  }

  private static func locators(_ peers: [(address: UInt32, port: UInt16)]) -> [Locator] {
    peers.map { Locator(ipv4: $0.address, port: $0.port) }
  }

  /// The machine of a node without a network: it opens no network socket.
  public convenience init() throws(SocketError) { try self.init(sockets: nil) }

  private init(sockets: Sockets?) throws(SocketError) {
    self.sockets = sockets
    var worker = pthread_key_t()
    guard unsafe pthread_key_create(&worker, nil) == 0 else {
      throw SocketError(description: "cannot make a thread-specific key")
    }
    self.worker = worker
    epoll = v_epoll_create()
    timer = v_timer_create()
    guard epoll >= 0, timer >= 0 else {
      throw SocketError(description: "cannot make the node's event loop: out of descriptors")
    }
  }

  /// The UDP port of the unicast socket; nil without sockets.
  public var port: UInt16? { sockets?.port }

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
      for socket in [sockets.unicast, sockets.groups] {
        watch(socket) { [self] in receive(from: socket, of: sockets, for: node) }
      }
    }
    watch(timer) { [self] in handleTimer(of: node) }
    let workers = max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    for index in 0..<workers {
      Thread.start(name: "v-worker-\(index)") { [self] in work() }
    }
  }

  private func work() -> Never {
    // It lives as long as the process, like the thread.
    let buffer = UnsafeMutableRawPointer.allocate(
      byteCount: Sockets.receiveBytes, alignment: 4096)
    unsafe pthread_setspecific(worker, buffer)
    while true {
      waiting.add(1, ordering: .relaxed)
      let descriptor = v_epoll_wait(epoll, -1)
      waiting.subtract(1, ordering: .relaxed)
      guard descriptor >= 0 else { continue }
      let handler = state.withLock { $0.watchers[descriptor] }
      handler?()
    }
  }

  private func receive(from socket: Int32, of sockets: Sockets, for node: Node) {
    guard let memory = unsafe pthread_getspecific(worker),
      turns.withLock({ $0.begin(socket) })
    else { return }
    var refused = 0
    let buffer = unsafe UnsafeMutableRawBufferPointer(
      start: memory, count: Sockets.receiveBytes)
    let isGroups = socket == sockets.groups
    let (packets, isEmptied) = unsafe sockets.drain(
      socket, into: buffer, packetsMax: SocketTurns.packetsMax
    ) { packets, stride, locator in
      // Empty packets only test whether a node has this port.
      guard unsafe !packets.isEmpty else { return }
      if isGroups {
        multicasts.withLock { $0.others += (packets.count + stride - 1) / stride }
      }
      unsafe node.handlePackets(packets, stride: stride, from: locator) { error in
        guard error != .ownMulticast else {
          if isGroups {
            multicasts.withLock { ($0.own, $0.others) = ($0.own + 1, $0.others - 1) }
          }
          return
        }
        refused += 1
        reject(error, locator)
      }
    }
    let again = turns.withLock {
      $0.end(socket, packets: packets, refused: refused, isEmptied: isEmptied)
    }
    for socket in again { _ = v_epoll_again(epoll, socket) }
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

  private func handleTimer(of node: Node) {
    var expirations: UInt64 = 0
    _ = unsafe read(timer, &expirations, 8)
    let now = now
    var due: [@Sendable () -> Void] = []
    let isNodeDue = state.withLock { state in
      state.armed = nil
      while let (_, body) = state.timers.popDue(at: now) { due.append(body) }
      guard let deadline = state.nodeDeadline, deadline <= now else { return false }
      state.nodeDeadline = nil
      return true
    }
    // Done first: handling may take long, and other workers' timers must not wait for it.
    rearm { _ in }
    if isNodeDue { node.handleTimers() }
    for body in due { body() }
  }

  /// Sets the timer for the earliest of all deadlines after `change`.
  private func rearm(_ change: (inout State) -> Void) {
    state.withLock { state in
      change(&state)
      var first = state.timers.first
      if let deadline = state.nodeDeadline { first = min(first ?? deadline, deadline) }
      guard let first else { return }
      if let armed = state.armed, armed <= first { return }
      state.armed = first
      // Inside the lock: otherwise a slower thread could overwrite it with a later time.
      _ = v_timer_set(timer, first.nanoseconds)
    }
  }

  // MARK: Machine

  public var now: Time { Time(nanoseconds: Self.nanoseconds(of: CLOCK_MONOTONIC)) }
  public var wallClock: Int64 { Self.nanoseconds(of: CLOCK_REALTIME) }

  private static func nanoseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

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

  public func wake(at time: Time) {
    rearm { state in state.nodeDeadline = min(state.nodeDeadline ?? time, time) }
  }

  public func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    state.withLock { $0.watchers[descriptor] = handler }
    _ = v_epoll_add(epoll, descriptor)
  }

  public func unwatch(_ descriptor: Int32) {
    _ = v_epoll_remove(epoll, descriptor)
    state.withLock { $0.watchers[descriptor] = nil }
  }

  public func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    let time = now + span
    rearm { $0.timers.push(body, at: time) }
  }

  /// If another worker waits for events, the work runs on this one, because passing it on takes
  /// longer than most of it.
  ///
  /// Else it goes to the pool.
  public func disk(mayRunHere: Bool, _ work: @escaping @Sendable () -> Void) {
    if mayRunHere, unsafe pthread_getspecific(worker) != nil && waiting.load(ordering: .relaxed) > 0
    {
      work()
    } else {
      pool.add(work)
    }
  }
}
