import NetworkFaults
import Replaying
import VKernel
import VNode
import VProtocol
import VRuntime
import VTransport

/// One seed's worth of the storm: four hosts, their clients, and what happens to them.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class Day: @unchecked Sendable {
  static let names = ["kea", "moa", "tui", "weka"]
  /// Longer than a transaction can last after all faults have ended.
  private static let endLimit = TimeSpan.seconds(60)
  /// Longer than anything is remembered that was not used.
  private static let calm = TimeSpan.seconds(120)
  /// One day in so many is recorded, since that takes as long again; nothing moves then.
  private static let recordedDays: UInt64 = 10

  let ledger = Ledger()
  let simulator: Simulator
  private let seed: UInt64
  private var generator: SeededGenerator
  private var left: Int
  private(set) var running: [String: StormHost] = [:]
  /// The servers that move, wherever they are.
  private var movers: [Mover] = []
  private static let moversMax = 8
  /// The servers of all boots, of which some have ended.
  private var known: [[EntityID]] = Ledger.Kind.allCases.map { _ in [] }
  private var addresses: UInt32 = 0
  private let secret: [UInt8]?
  private(set) var boots = 0
  /// How often each kind of event has happened.
  private(set) var strikes: [String: Int] = [:]
  /// The most entries that each table of any kernel had, at the strikes and at the end.
  private(set) var most: [String: (storm: Int, end: Int)] = [:]

  init(seed: UInt64, transactions: Int) {
    self.seed = seed
    simulator = Simulator(seed: seed)
    generator = SeededGenerator(seed: ~seed)
    left = transactions
    // On most days the packets are sealed, as all are outside of simulations.
    secret = seed % 4 == 0 ? nil : [UInt8](repeating: 7, count: 32)
    simulator.records = seed % Self.recordedDays == 2
  }

  func run() {
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 5)
    for name in Self.names { boot(name) }
    while left > 0 {
      simulator.run(for: .milliseconds(Int64(50 + below(1500)))) { left == 0 }
      count { max($0, $1) }
      strike()
    }
    simulator.faults = Faults()
    simulator.heal()
    for name in Self.names {
      simulator.machine(name).wakeUp()
      if running[name] == nil { boot(name) }
    }
    simulator.run(for: Self.endLimit) { ledger.open == 0 }
    ledger.close()
    simulator.run(for: Self.calm)
    checkTables()
    for name in Self.names { crash(name) }
    checkRecordings()
  }

  // MARK: choices

  func below(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }
  func takesOne() -> Bool {
    guard left > 0 else { return false }
    left -= 1
    return true
  }
  func anyHost() -> String { Self.names[below(Self.names.count)] }

  func anyKind() -> Ledger.Kind {
    switch below(100) {
    case ..<35: .worker
    case ..<47: .mover
    case ..<62: .reader
    case ..<72: .process
    case ..<90: .forwarder
    case ..<95: .group
    default: .members
    }
  }

  /// A server of some host: in most cases of its present boot, else of any boot.
  func anyEntity(_ kind: Ledger.Kind) -> EntityID {
    let all = known[Ledger.Kind.allCases.firstIndex(of: kind)!]
    if below(50) == 0 { return all[below(all.count)] }
    if kind == .mover {
      return movers.isEmpty ? all[below(all.count)] : movers[below(movers.count)].entity
    }
    let host = anyHost()
    return running[host]?.entity(kind) ?? all[below(all.count)]
  }

  func entity(_ kind: KeyPath<StormHost, EntityID>, of host: String) -> EntityID {
    running[host]?[keyPath: kind] ?? known[0][below(known[0].count)]
  }

  /// Most messages are short; there are all sizes up to the largest, and those where blocks and
  /// packets begin.
  func anySize() -> Int {
    let edges = [1, 511, 512, 513, 1023, 1024, 1025, 8192, 16_383, 16_384]
    return switch below(100) {
    case ..<45: 0
    case ..<75: below(512)
    case ..<88: below(2048)
    case ..<94: below(8192)
    case ..<97: below(16_385)
    default: edges[below(edges.count)]
    }
  }

  // MARK: what happens to hosts

  private func boot(_ name: String) {
    let node = simulator.start(name, secret: secret)
    if addresses > 0 { simulator.machine(name).locator = anyAddress() }
    if boots < Self.names.count || below(2) == 0 { node.announce() }
    boots += 1
    let host = StormHost(node, self)
    running[name] = host
    if movers.count < Self.moversMax { movers.append(Mover(host, self)) }
    for (index, kind) in Ledger.Kind.allCases.enumerated() {
      known[index].append(kind == .mover ? movers.last!.entity : host.entity(kind))
    }
    host.start()
  }

  private func crash(_ name: String) {
    for mover in movers where mover.host === running[name] && !mover.isMoving { mover.end() }
    movers.removeAll(where: \.hasEnded)
    running[name]?.end()
    running[name] = nil
    simulator.crash(name)
  }

  private func anyAddress() -> Locator {
    addresses += 1
    return Locator(ipv4: 0x0A4D_1000 + addresses, port: 61044)
  }

  private func happens(_ what: String) { strikes[what, default: 0] += 1 }

  /// Something happens, and entities move.
  private func strike() {
    move()
    let name = anyHost()
    let other = Self.names.first { $0 != name && below(2) == 0 } ?? Self.names[0]
    let machine = simulator.machine(name)
    switch below(12) {
    case 0 where running.count > 2:
      happens("crash")
      crash(name)
    case 1, 2, 3:
      guard let down = Self.names.first(where: { running[$0] == nil }) else { return heal() }
      happens("boot")
      boot(down)
    case 4 where other != name:
      happens("partition")
      simulator.partition(name, other)
    case 5 where other != name:
      happens("one-way loss")
      simulator.loseAll(from: name, to: other)
    case 6:
      happens("suspend")
      running[name]?.noteSleep()
      machine.sleep()
      wakeUp(machine)
    case 7:
      happens("suspend, counted by the clock")
      running[name]?.noteSleep()
      machine.sleep(countingSleep: true)
      wakeUp(machine)
    case 8 where running[name] != nil:
      happens("server replaced")
      running[name]!.replaceWorker()
      known[0].append(running[name]!.worker)
    // A clear packet does not tell which kernel forwards it, other than by its known address.
    case 9 where running[name] != nil && secret != nil:
      happens("address changed")
      machine.locator = anyAddress()
      running[name]!.node.announce()
    default: heal()
    }
  }

  private func move() {
    // A clear packet does not tell which kernel sent it, other than by what is known of its client.
    // A recording has no form for moves.
    guard secret != nil, !simulator.records else { return }
    for _ in 0..<below(4) {
      let name = anyHost()
      let isMoving =
        below(2) == 0 && !movers.isEmpty
        ? movers[below(movers.count)].move(to: name)
        : running[anyHost()]?.moveClient(to: name) ?? false
      if isMoving { happens("move") }
    }
  }

  private func heal() {
    happens("heal")
    simulator.heal()
  }

  /// Mostly soon, at times after the host was given up and forgotten.
  private func wakeUp(_ machine: SimulatedMachine) {
    let milliseconds = below(4) == 0 ? below(25_000) : below(1000)
    simulator.schedule(after: .milliseconds(Int64(milliseconds))) { machine.wakeUp() }
  }

  /// What entered each kernel must make a fresh one do the same.
  private func checkRecordings() {
    for recording in simulator.recordings {
      do throws(Replay.Failure) {
        var replay = try Replay(recording.octets)
        while try replay.next() != nil {}
      } catch {
        ledger.note("a kernel that enters the same does something else: \(error)")
      }
    }
  }

  // MARK: tables

  private func count(_ isEnd: Bool = false, _ merge: (Int, Int) -> Int) {
    for host in running.values {
      for (table, count) in host.node.tableCounts {
        var (storm, end) = most[table] ?? (0, 0)
        if isEnd { end = max(end, count) } else { storm = max(storm, count) }
        most[table] = (storm, end)
      }
    }
  }

  /// Whose records are left, and what became of their requests.
  private func note(_ clients: [ClientStatus]) {
    for (client, _, server) in clients {
      let last = ledger.transactions.last { $0.client == client }
      ledger.note("a record of \(client), whose request is with \(server): \(last as Any)")
    }
  }

  /// After the calm nothing is left but what lives: hosts, their earlier boots, entities.
  private func checkTables() {
    count(true, max)
    for (name, host) in running {
      let servers = host.serversMade + movers.count { $0.host === host }
      for (table, count) in host.node.tableCounts {
        let limit =
          switch table {
          case "records", "probes", "transactions", "completions", "descriptors": 0
          case "entities": servers + host.clients.count
          case "procedures": servers
          case "groups": 1
          case "peers", "places": boots
          case "dead boots": boots
          case "timers": 4 * boots
          // Lists that are swept when they have doubled.
          case "waiting", "working": 64 * (servers + 1)
          default: -1
          }
        if count > limit {
          ledger.note("\(name) has \(count) \(table) when all is over, at most \(limit) expected")
          if table == "records" { note(host.node.clients) }
        }
      }
    }
  }
}
