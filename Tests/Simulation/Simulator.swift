import NetworkFaults
import VNode
import VProtocol
import VTransport

/// Nodes on a simulated network, with one clock and one thread; one seed decides everything.
///
/// Time never moves by itself: it jumps to the next event, and events at equal times keep their
/// order.
final class Simulator {
  private struct Event {
    var time: Time
    var order: Int
    var body: () -> Void
  }

  private(set) var now = Time(nanoseconds: 1_000_000_000)
  private var events: [Event] = []
  private var order = 0
  /// Random numbers for everything but network faults: the choices of nodes, the delay of packets.
  private var generator: SeededGenerator
  private var engine: FaultEngine
  /// How far the wall clocks of hosts are off, in nanoseconds.
  var clockOffsets: [String: Int64] = [:]
  /// Drops each packet for which it returns true, whatever the faults are.
  var dropsPacket: (([UInt8]) -> Bool)?
  /// Whether the network delivers what is sent to a group.
  var carriesMulticast = true
  /// How many packets were copies for one place of what went to a group.
  private(set) var copies = 0
  private(set) var packets = 0
  private(set) var packetsLost = 0
  private(set) var machines: [SimulatedMachine] = []
  /// Every packet that arrived, as text: equal runs have equal traces.
  private(set) var trace: [String] = []
  var keepsTrace = false
  /// What entered the kernel of each node that was started while `records` was set.
  private(set) var recordings: [Recording] = []
  var records = false

  /// `@unchecked Sendable`: the simulator is one thread.
  final class Recording: @unchecked Sendable {
    private(set) var octets: [UInt8] = []
    @Sendable func take(_ record: [UInt8]) -> Bool {
      octets += record
      return true
    }
  }

  init(seed: UInt64) {
    generator = SeededGenerator(seed: seed)
    engine = FaultEngine(seed: seed)
  }

  /// The faults of every packet.
  var faults: Faults {
    get { engine.everywhere }
    set { engine.everywhere = newValue }
  }

  /// Keeps two hosts from hearing each other until `heal`.
  func partition(_ one: String, _ other: String) { engine.partition(index(one), index(other)) }
  /// Keeps one host from hearing another, which may still hear it, until `heal`.
  func loseAll(from source: String, to target: String) {
    engine.loseAll(from: index(source), to: index(target))
  }
  func heal() { engine.heal() }
  func machine(_ host: String) -> SimulatedMachine { machines[index(host)] }

  func random() -> UInt64 { generator.next() }

  /// Starts a node; with the host name of one that was stopped, it is that host rebooted.
  ///
  /// `place` is the machine, if its name is not that of the host.
  func start(
    _ host: String, on place: String? = nil, secret: [UInt8]? = nil,
    version: UInt8 = PacketHeader.version
  ) -> Node {
    let place = place ?? host
    let index = machines.firstIndex { $0.host == place } ?? machines.count
    let machine = SimulatedMachine(self, host: place, index: index)
    let recording = records ? Recording() : nil
    if let recording { recordings.append(recording) }
    let node = Node(
      host: host, machine: machine, secret: secret, version: version,
      recorder: recording?.take)
    machine.node = node
    if index < machines.count { machines[index] = machine } else { machines.append(machine) }
    return node
  }

  /// Ends a node at once, with everything under way.
  func crash(_ host: String) { machines.first { $0.host == host }?.end() }

  // A process has room for the thread-specific keys of 1024 nodes.
  deinit { for machine in machines { machine.end() } }

  func schedule(after span: TimeSpan, _ body: @escaping () -> Void) {
    order += 1
    events.append(Event(time: now + span, order: order, body: body))
    var child = events.count - 1
    while child > 0, precedes(events[child], events[(child - 1) / 2]) {
      events.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Runs events until `isDone` or until `limit` has passed; returns whether it is done.
  @discardableResult
  func run(for limit: TimeSpan, until isDone: () -> Bool = { false }) -> Bool {
    let end = now + limit
    while !isDone() {
      guard let event = popNext(before: end) else {
        now = end
        return isDone()
      }
      now = event.time
      event.body()
    }
    return true
  }

  func carry(_ packet: [UInt8], from sender: SimulatedMachine, to destination: Destination) {
    if case .copy = destination { copies += 1 }
    for receiver in machines where receiver.hears(destination) {
      packets += 1
      let delays = engine.delays(from: index(sender.host), to: index(receiver.host))
      guard !delays.isEmpty, dropsPacket?(packet) != true else {
        packetsLost += 1
        continue
      }
      for delay in delays { deliver(packet, from: sender, to: receiver, destination, after: delay) }
    }
  }

  private func deliver(
    _ packet: [UInt8], from sender: SimulatedMachine, to receiver: SimulatedMachine,
    _ destination: Destination, after delay: UInt64
  ) {
    let onTheWay = TimeSpan(nanoseconds: 20_000 + Int64(random() % 20_000) + Int64(delay))
    schedule(after: onTheWay) { [unowned self] in
      if keepsTrace {
        trace.append("\(now.nanoseconds) \(sender.host)>\(receiver.host) \(packet.count)")
      }
      receiver.receive(packet, from: sender.locator, isMulticast: destination.isGroup)
    }
  }

  private func index(_ host: String) -> Int { machines.firstIndex { $0.host == host }! }

  private func precedes(_ left: Event, _ right: Event) -> Bool {
    left.time == right.time ? left.order < right.order : left.time < right.time
  }

  private func popNext(before end: Time) -> Event? {
    guard let first = events.first, first.time <= end else { return nil }
    let last = events.removeLast()
    if events.isEmpty { return first }
    events[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < events.count {
        if precedes(events[child], events[least]) { least = child }
      }
      if least == parent { return first }
      events.swapAt(parent, least)
      parent = least
    }
  }
}

extension Destination {
  fileprivate var isGroup: Bool {
    if case .group = self { true } else { false }
  }
}

/// The machine of one simulated host.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class SimulatedMachine: Machine, @unchecked Sendable {
  let host: String
  /// Changed, the host goes on under another address.
  var locator: Locator
  var node: Node?
  private unowned let simulator: Simulator
  private var groups: Set<EntityID> = []
  private var wakeAt: Time?
  /// How long it has slept in all, and since when it sleeps.
  private var slept = TimeSpan(nanoseconds: 0)
  private var sleepsSince: Time?
  private var countsSleep = false
  /// What is due when it wakes up.
  private var overdue: [() -> Void] = []
  /// Packets that were refused, by kind.
  private(set) var refused: [WireError] = []
  /// Their sources.
  private(set) var refusedSources: [Locator] = []

  init(_ simulator: Simulator, host: String, index: Int) {
    self.simulator = simulator
    self.host = host
    locator = Locator(ipv4: 0x0A4D_0001 + UInt32(index), port: 61044)
  }

  /// The node has ended, and everything that it had under way.
  func end() {
    node?.end()
    node = nil
  }

  func hears(_ destination: Destination) -> Bool {
    switch destination {
    case .peer(_, let target), .copy(let target): target == locator
    case .group(let group): simulator.carriesMulticast && groups.contains(group)
    }
  }

  var isAsleep: Bool { sleepsSince != nil }

  /// Stops the host until it wakes up; what is sent to it is lost.
  ///
  /// Its clock stands still, unless it counts sleep.
  func sleep(countingSleep: Bool = false) {
    (sleepsSince, countsSleep) = (simulator.now, countingSleep)
  }

  func wakeUp() {
    guard let since = sleepsSince else { return }
    if !countsSleep { slept = slept + (simulator.now - since) }
    sleepsSince = nil
    let bodies = overdue
    overdue = []
    for body in bodies { body() }
  }

  /// Calls `body` in a while, once the host is awake, unless its node has ended.
  private func schedule(after span: TimeSpan, _ body: @escaping () -> Void) {
    simulator.schedule(after: span) { [self] in
      if sleepsSince == nil { return body() }
      overdue.append(body)
    }
  }

  func receive(_ packet: [UInt8], from source: Locator, isMulticast: Bool = false) {
    guard let node, sleepsSince == nil else { return }
    var copy = packet
    copy.withUnsafeMutableBytes { bytes in
      do throws(WireError) {
        try node.handlePacket(bytes, from: source, isMulticast: isMulticast)
      } catch {
        refused.append(error)
        refusedSources.append(source)
      }
    }
  }

  var now: Time {
    Time(nanoseconds: (sleepsSince ?? simulator.now).nanoseconds - slept.nanoseconds)
  }
  var wallClock: Int64 {
    simulator.now.nanoseconds + 1_700_000_000_000_000_000
      + simulator.clockOffsets[host, default: 0]
  }
  func random() -> UInt64 { simulator.random() }

  func transmit(
    _ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination
  ) {
    // Events of a crashed host have no effect outside it.
    guard node != nil || simulator.machines.allSatisfy({ $0 !== self }) else { return }
    var start = 0
    while start < packets.count {
      let end = min(start + stride, packets.count)
      simulator.carry(Array(packets[start..<end]), from: self, to: destination)
      start = end
    }
  }

  func listen(to group: EntityID) { groups.insert(group) }

  func wake(at time: Time) {
    if let wakeAt, wakeAt <= time, wakeAt > now { return }
    wakeAt = time
    let span = max(time - now, TimeSpan(nanoseconds: 0))
    schedule(after: span) { [self] in
      guard wakeAt == time else { return }
      wakeAt = nil
      node?.handleTimers()
    }
  }

  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {}
  func unwatch(_ descriptor: Int32) {}
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    schedule(after: span) { [self] in if node != nil { body() } }
  }
  /// A disk that takes up to a millisecond, so that answers change their order.
  func disk(_ priority: Priority, mayRunHere: Bool, _ work: @escaping @Sendable () -> Void) {
    let delay = TimeSpan(nanoseconds: Int64(random() % 1_000_000))
    schedule(after: delay) { [self] in if node != nil { work() } }
  }
}
