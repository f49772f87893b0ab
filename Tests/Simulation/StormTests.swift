import NetworkFaults
import Testing
import VClient
import VFileServer
import VNode
import VProtocol
import VRuntime
import VStore

/// A program that appends numbered records to the files of all hosts, reads other files there, and
/// remembers the answers.
private final class Worker: Sendable {
  /// The state of a record: it was sent, and perhaps answered.
  enum Fate { case unknown, done }

  static let recordBytes = 16
  /// The pause between two attempts: a silent host refuses at once.
  private static let pause = TimeSpan.milliseconds(20)

  let node: Node
  let number: Int
  private let clients: ClientPool
  private let names: NameCache
  /// By host and record.
  let records = Shared<[String: [[UInt8]: Fate]]>([:])
  let readings = Shared(0)
  let wrongReadings = Shared(0)
  let isStopped = Shared(false)
  private let steps = Shared(0)

  init(_ node: Node, number: Int) {
    self.node = node
    self.number = number
    clients = ClientPool(node)
    names = NameCache(node, clients: clients)
  }

  func run() {
    guard !isStopped.value else { return }
    steps.value += 1
    let target = Storm.hosts[Int(node.random() % UInt64(Storm.hosts.count))]
    let next: @Sendable () -> Void = { [unowned self] in
      node.after(Self.pause) { [weak self] in self?.run() }
    }
    steps.value % 3 == 0 ? read(target, next) : append(steps.value, to: target, next)
  }

  private func append(_ step: Int, to target: String, _ next: @escaping @Sendable () -> Void) {
    let text = "\(number) \(step)"
    let record =
      Array((text + String(repeating: " ", count: Self.recordBytes - 1)).utf8)
      .prefix(Self.recordBytes - 1) + [UInt8(ascii: "\n")]
    open("log", of: target, [.write, .append], orElse: next) { [self] instance, manager in
      records.value[target, default: [:]][Array(record)] = .unknown
      clients.send(
        WriteInstance(instance, position: 0, data: Array(record)), as: "root", to: manager
      ) { [self] answer in
        if case .done(let written, _) = answer, written.count == Self.recordBytes {
          records.value[target]?[Array(record)] = .done
        }
        close(instance, manager, next)
      }
    }
  }

  private func read(_ target: String, _ next: @escaping @Sendable () -> Void) {
    open("big", of: target, .read, orElse: next) { [self] instance, manager in
      clients.send(
        ReadInstance(instance, position: 7, count: 9000), as: "root", to: manager
      ) { [self] answer in
        if case .done(let block, _) = answer {
          readings.value += 1
          if block.data != Array(Storm.content(of: target)[7..<9007]) { wrongReadings.value += 1 }
        }
        close(instance, manager, next)
      }
    }
  }

  private func open(
    _ name: String, of target: String, _ mode: OpenMode, orElse: @escaping @Sendable () -> Void,
    then: @escaping @Sendable (InstanceID, EntityID) -> Void
  ) {
    names.query(Array("storage/\(target)/\(name)".utf8)) { [self] answer in
      guard case .done(let binding, _) = answer else { return orElse() }
      clients.send(
        CreateInstance(ContextName(binding.context, Array(name.utf8)), mode: mode), as: "root",
        to: binding.manager
      ) { [self] answer in
        guard case .done(let created, let manager) = answer else {
          names.forget(binding.manager)
          return orElse()
        }
        then(created.instance, manager)
      }
    }
  }

  private func close(
    _ instance: InstanceID, _ manager: EntityID, _ next: @escaping @Sendable () -> Void
  ) {
    clients.send(ReleaseInstance(instance), as: "root", to: manager) { _ in next() }
  }
}

/// Three hosts whose disks outlive their boots, and the events that happen to them.
private final class Storm {
  static let hosts = ["kea", "moa", "tui"]
  static func content(of host: String) -> [UInt8] {
    let start = Int(host.utf8.first!)
    return (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* start ^ $0 >> 7) }
  }

  let simulator: Simulator
  private var generator: SeededGenerator
  var disks: [String: MemoryStore] = [:]
  private let claims = hosts.map { ($0, Shared<[UInt8]>([])) }
  private(set) var running: [String: ClaimingHost] = [:]
  private(set) var workers: [Worker] = []
  private(set) var boots = 0
  private(set) var partitions = 0

  init(seed: UInt64) throws {
    simulator = Simulator(seed: seed)
    simulator.records = seed % 5 == 1
    generator = SeededGenerator(seed: seed)
    for host in Self.hosts {
      disks[host] = try ClaimingHost.disk(["big": Self.content(of: host), "log": []])
      try boot(host)
    }
  }

  func boot(_ host: String) throws {
    let claims = claims.first { $0.0 == host }!.1
    let started = try ClaimingHost(host, in: simulator, claims: claims, disk: disks[host])
    running[host] = started
    boots += 1
    for _ in 0..<2 {
      workers.append(Worker(started.node, number: workers.count))
      workers.last!.run()
    }
  }

  /// An event.
  func strike() throws {
    let host = Self.hosts.randomElement(using: &generator)!
    switch UInt.random(in: 0..<4, using: &generator) {
    case 0 where running[host] != nil && running.count > 1:
      simulator.crash(host)
      running[host] = nil
    case 1:
      let other = Self.hosts.filter { $0 != host }.randomElement(using: &generator)!
      simulator.partition(host, other)
      partitions += 1
    case 2: simulator.heal()
    default: try calm(hosts: [host])
    }
  }

  /// Boots those hosts that do not run.
  func calm(hosts: [String]) throws {
    for host in hosts where running[host] == nil { try boot(host) }
  }

  func span(_ milliseconds: ClosedRange<Int64>) -> TimeSpan {
    .milliseconds(Int64.random(in: milliseconds, using: &generator))
  }

  /// The contents of a host's disk.
  func log(of host: String) throws -> [[UInt8]] {
    let store = disks[host]!
    let object = try store.lookUp(
      try RelativePath(Array("log".utf8)), in: try store.openRoot("/"), as: .root, .mayWait)
    let file = try store.open(object, .read, as: .root, .mayWait)
    let bytes = try store.read(file, at: 0, count: 1 << 20, .mayWait)
    return stride(from: 0, to: bytes.count, by: Worker.recordBytes).map {
      Array(bytes[$0..<min($0 + Worker.recordBytes, bytes.count)])
    }
  }
}

@Suite("Hosts that crash, part and meet again in the simulator")
struct StormTests {
  @Test(
    "every append is done once or reported as unknown, no octet is wrong, and all agree",
    arguments: seeds)
  func storm(seed: UInt64) throws {
    let storm = try Storm(seed: seed)
    let simulator = storm.simulator
    simulator.faults = Faults(loss: 10, duplication: 5, reordering: 10)
    for _ in 0..<16 {
      simulator.run(for: storm.span(500...4000))
      try storm.strike()
    }
    simulator.faults = Faults()
    simulator.heal()
    try storm.calm(hosts: Storm.hosts)
    for worker in storm.workers { worker.isStopped.value = true }
    // Claims are spread every 30 s.
    simulator.run(for: .seconds(40))

    for host in Storm.hosts {
      let log = try storm.log(of: host)
      #expect(Set(log).count == log.count, "done twice on \(host), V_SEED=\(seed)")
      let told = storm.workers.map { $0.records.value[host] ?? [:] }
      let sent = Set(told.flatMap { $0.keys })
      let done = Set(told.flatMap { $0.filter { $0.value == .done }.keys })
      #expect(sent.isSuperset(of: log), "never sent to \(host), V_SEED=\(seed)")
      #expect(done.isSubset(of: log), "lost on \(host), V_SEED=\(seed)")
      #expect(done.count > 3, "V_SEED=\(seed)")
    }
    #expect(storm.workers.allSatisfy { $0.wrongReadings.value == 0 }, "V_SEED=\(seed)")
    #expect(storm.workers.map(\.readings.value).reduce(0, +) > 10, "V_SEED=\(seed)")

    for host in storm.running.values {
      let names = outcome(simulator) { host.list("storage", $0) }
      #expect(Set(names ?? []) == Set(Storm.hosts + ["self", "any"]), "V_SEED=\(seed)")
      #expect(host.refusals.value.isEmpty, "V_SEED=\(seed)")
      for (name, other) in storm.running {
        let found: Answer<Descriptor>? = outcome(simulator) { host.walk("storage/\(name)/big", $0) }
        guard case .done(_, let server)? = found else {
          Issue.record("\(name) is not found: \(String(describing: found)), V_SEED=\(seed)")
          continue
        }
        #expect(server.kernel == other.node.id, "V_SEED=\(seed)")
      }
    }
    #expect(simulator.recordings.count == (simulator.records ? storm.boots : 0))
    for recording in simulator.recordings { try replay(recording.octets) }
  }
}
