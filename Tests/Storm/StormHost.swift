import NetworkFaults
import VNode
import VObjects
import VProtocol
import VRuntime

/// A value that closures of the one simulated thread share, hence `@unchecked`.
final class Shared<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}

/// One boot of a host: a node, a server of each kind, and clients that ask all hosts.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class StormHost: @unchecked Sendable {
  static let group = EntityID(group: 77, low: 0xE000_0100, isUnrestricted: true)
  static let clientsMax = 6

  let node: Node
  private unowned let day: Day
  private(set) var worker = EntityID.none
  private(set) var reader = EntityID.none
  private(set) var forwarder = EntityID.none
  private var process: MessageProcess?
  private(set) var clients: [StormClient] = []
  private(set) var serversMade = 0

  init(_ node: Node, _ day: Day) {
    self.node = node
    self.day = day
    worker = makeServer { [unowned self] request in work(on: request) }
    reader = makeServer(knowsPrincipals: false) { [unowned self] request in
      self.node.reply(self.day.ledger.execute(request), to: request)
    }
    forwarder = makeServer { [unowned self] request in
      _ = self.day.ledger.number(of: request)
      let host = self.day.anyHost()
      // Now and then through another forwarder, perhaps of a host that has ended.
      let next = self.day.below(4) == 0 ? \StormHost.forwarder : \StormHost.worker
      self.node.forward(request, request.message, to: self.day.entity(next, of: host))
    }
    for _ in 0..<2 {
      let member = makeServer { [unowned self] request in
        self.node.reply(self.day.ledger.execute(request), to: request)
      }
      node.join(member, group: Self.group)
    }
    serversMade += 1
    process = MessageProcess(node)
    receive()
    clients = (0..<Self.clientsMax).map { StormClient(self, day, "user\($0)") }
  }

  func start() { for client in clients { client.run() } }

  /// The servers that there are, for requests that choose one.
  func entity(_ kind: Ledger.Kind) -> EntityID {
    switch kind {
    case .worker: worker
    case .mover: .none
    case .reader: reader
    case .process: process!.entity
    case .forwarder: forwarder
    case .group, .members: Self.group
    }
  }

  /// Its server ends, with what it works on, and another takes its place.
  func replaceWorker() {
    node.retire(worker)
    serversMade -= 1
    worker = makeServer { [unowned self] request in work(on: request) }
  }

  /// One of its clients that waits for an answer goes to another host.
  func moveClient(to name: String) -> Bool {
    let waiting = clients.filter(\.isWaiting)
    return waiting.isEmpty ? false : waiting[day.below(waiting.count)].move(to: name)
  }

  func remove(_ client: StormClient) { clients.removeAll { $0 === client } }
  func add(_ client: StormClient) { clients.append(client) }

  func noteSleep() { for client in clients { client.noteSleep() } }

  /// The host crashes: nobody hears of what its clients had asked for.
  func end() {
    for client in clients { client.end() }
    clients = []
  }

  private func makeServer(
    knowsPrincipals: Bool = true, _ procedure: @escaping Procedure
  ) -> EntityID {
    serversMade += 1
    return node.makeServer(knowsPrincipals: knowsPrincipals, procedure)
  }

  /// Answers at once, soon, or after seconds, when the client's host asks whether it still works.
  private func work(on request: Request) {
    let answer = day.ledger.execute(request)
    let choice = day.below(100)
    guard choice >= 70 else { return node.reply(answer, to: request) }
    let span = choice < 97 ? day.below(50_000) : day.below(8_000_000)
    node.after(.microseconds(Int64(span))) { [weak self] in
      self?.node.reply(answer, to: request)
    }
  }

  private func receive() {
    process!.receive { [unowned self] request in
      let answer = day.ledger.execute(request)
      node.after(.microseconds(Int64(day.below(2000)))) { [weak self] in
        self?.node.reply(answer, to: request)
        self?.receive()
      }
    }
  }
}

/// A client: it sends, waits for the end, pauses, and sends again until the day has enough.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class StormClient: @unchecked Sendable {
  private var host: StormHost
  private unowned let day: Day
  private let user: String
  private var entity: EntityID
  /// The hosts where its entity has been: its principal may be of any of them, since nobody can
  /// vouch for it once its home has ended.
  private var hosts: [String]
  private var isMoving = false
  private var current: Int?

  init(_ host: StormHost, _ day: Day, _ user: String) {
    (self.host, self.day, self.user) = (host, day, user)
    entity = host.node.makeClient(user: user)
    hosts = [host.node.host]
  }

  var isWaiting: Bool { current != nil && !isMoving }

  func run() {
    guard day.takesOne() else { return }
    let kind = day.anyKind()
    let target = day.anyEntity(kind)
    let number = day.ledger.start(
      kind, of: entity, hosts.map { "\(user)@\($0)" }, bytes: day.anySize(),
      answerBytes: day.anySize())
    current = number
    let isPatient = day.below(20) != 0
    var options = SendOptions()
    if kind == .members || !isPatient {
      let most = kind == .members ? 99_000 : 2_000_000
      options.timeLimit = .microseconds(Int64(1000 + day.below(most)))
    }
    options.collectsResponses = kind == .members
    host.node.send(day.ledger.request(number), from: entity, to: target, options: options) {
      [weak self] response in self?.handle(number, response)
    }
    // Some clients end while they wait.
    if day.below(200) == 0 { pause(day.below(10_000)) { [weak self] in self?.retire(number) } }
  }

  func move(to name: String) -> Bool {
    let old = host
    isMoving = day.move(entity, from: old, to: name) { [self] in settle($0) }
    if isMoving {
      old.remove(self)
      // A member's record of a request to its group ends before the client has arrived.
      noteSleep()
    }
    return isMoving
  }

  private func settle(_ place: StormHost?) {
    host.remove(self)
    guard let place else { return end() }
    (host, isMoving) = (place, false)
    host.add(self)
    hosts.append(host.node.host)
    if let current { day.ledger.noteUser("\(user)@\(host.node.host)", of: current) }
  }

  func noteSleep() {
    if let current { day.ledger.noteSleep(current) }
  }

  func end() {
    if let current { day.ledger.abandon(current) }
    current = nil
  }

  private func handle(_ number: Int, _ response: Response) {
    if day.ledger.transactions[number].kind == .members, response.code.isOK {
      return day.ledger.hear(number, response)
    }
    day.ledger.end(number, response, at: host.node.now)
    current = nil
    let choice = day.below(1000)
    // At times for longer than clients and servers remember each other.
    let most = choice < 900 ? 30_000 : choice < 995 ? 500_000 : 15_000_000
    pause(day.below(most)) { [weak self] in self?.run() }
  }

  private func retire(_ number: Int) {
    guard current == number, !isMoving else { return }
    host.node.retire(entity)
    end()
    entity = host.node.makeClient(user: user)
    hosts = [host.node.host]
    run()
  }

  private func pause(_ microseconds: Int, _ body: @escaping @Sendable () -> Void) {
    host.node.after(.microseconds(Int64(microseconds)), body)
  }
}
