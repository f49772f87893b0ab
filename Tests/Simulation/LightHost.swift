import VDirectory
import VProtocol
import VRuntime

/// Hosts without kernels, which carry the messages of their directories on a simulator's clock.
///
/// A thousand of them take no longer than a few real nodes.
/// A request gets its answer if both arrive; nothing is repeated.
final class LightNetwork {
  let simulator: Simulator
  fileprivate var hosts: [KernelID: LightHost] = [:]
  fileprivate var members: [(host: LightHost, server: EntityID)] = []
  fileprivate var waiting: [EntityID: Completion] = [:]
  /// Percent of the arrivals that are lost.
  var loss: UInt64 = 0
  /// Messages to all hosts, and what else was sent, with their octets.
  private(set) var multicasts = 0
  private(set) var multicastOctets = 0
  private(set) var requests = 0
  private(set) var answerOctets = 0

  init(_ simulator: Simulator) { self.simulator = simulator }

  /// Each has a directory; `name` is that of the host.
  func start(_ name: String) -> LightHost {
    let host = LightHost(name, KernelID(UInt32(hosts.count + 1)), self)
    hosts[host.kernel] = host
    return host
  }

  fileprivate func multicast(_ message: Message, from client: EntityID, _ sender: LightHost) {
    multicasts += 1
    multicastOctets += message.segment.count
    simulator.schedule(after: .milliseconds(1)) { [self] in
      for (host, server) in members where host !== sender && !isLost(to: host) {
        host.receive(message, from: client, at: server, of: .nameHandlingGroup)
      }
    }
  }

  fileprivate func send(
    _ message: Message, from client: EntityID, to server: EntityID,
    _ completion: @escaping Completion
  ) {
    requests += 1
    waiting[client] = completion
    let host = hosts[server.kernel]
    simulator.schedule(after: .milliseconds(1)) { [self] in
      if let host, server.kernel == client.kernel || !isLost(to: host) {
        host.receive(message, from: client, at: server, of: server)
      }
    }
    simulator.schedule(after: .seconds(2)) { [self] in
      answer(client, Response(server: .none, message: Message(reply: .retransmissionTimeout)))
    }
  }

  fileprivate func answer(_ client: EntityID, _ response: Response) {
    guard let completion = waiting.removeValue(forKey: client) else { return }
    answerOctets += response.message.segment.count
    completion(response)
  }

  private func isLost(to host: LightHost) -> Bool {
    host.isDeaf || loss > 0 && simulator.random() % 100 < loss
  }
}

/// `@unchecked Sendable`: the simulator is one thread.
final class LightHost: Backplane, @unchecked Sendable {
  let host: String
  let kernel: KernelID
  /// Hears nothing.
  var isDeaf = false
  private(set) var directory: Directory!
  private unowned let network: LightNetwork
  private var procedures: [EntityID: Procedure] = [:]
  private var lastDiscriminator: UInt32 = 16

  fileprivate init(_ host: String, _ kernel: KernelID, _ network: LightNetwork) {
    self.host = host
    self.kernel = kernel
    self.network = network
    directory = Directory(self)
  }

  /// Claims prefixes for one manager; calls `refused` for each that is refused.
  func claim(_ prefixes: [String], refused: @escaping @Sendable (String, ReplyCode) -> Void) {
    let manager = makeServer(knowsPrincipals: true) { _ in }
    for prefix in prefixes {
      let claim = ClaimName(
        prefix: Array(prefix.utf8), context: ContextID(rawValue: 1), manager: manager)
      send(claim, from: makeClient("root"), to: directory.server) { answer in
        if let refusal = answer.refusal { refused(prefix, refusal) }
      }
    }
  }

  fileprivate func receive(
    _ message: Message, from client: EntityID, at server: EntityID, of addressee: EntityID
  ) {
    procedures[server]?(
      Request(
        client: client, transaction: TransactionID(1), addressee: addressee, server: server,
        forwardCount: 0, message: message,
        principal: client.kernel == kernel
          ? Principal(user: "root", host: host, marks: .fullRoot) : nil,
        isLocal: client.kernel == kernel))
  }

  var now: Time { network.simulator.now }
  var wallClock: Int64 { now.nanoseconds + 1_700_000_000_000_000_000 }
  func random() -> UInt64 { network.simulator.random() }

  func makeClient(_ user: ClientUser) -> EntityID {
    lastDiscriminator += 1
    return EntityID(kernel: kernel, discriminator: lastDiscriminator)
  }
  func retire(_ entity: EntityID) { procedures[entity] = nil }
  func makeServer(knowsPrincipals: Bool, _ procedure: @escaping Procedure) -> EntityID {
    let server = makeClient("root")
    procedures[server] = procedure
    return server
  }
  func join(_ server: EntityID, group: EntityID) { network.members.append((self, server)) }

  func send(
    _ message: Message, from client: EntityID, to server: EntityID, options: SendOptions,
    completion: @escaping Completion
  ) {
    if server.isGroup {
      // There are no managers, so nobody answers for a prefix.
      network.simulator.schedule(after: options.timeLimit ?? .seconds(2)) {
        completion(Response(server: .none, message: Message(reply: .userTimeout)))
      }
    } else {
      network.send(message, from: client, to: server, completion)
    }
  }
  func reply(_ message: Message, to request: Request) {
    let network = network
    let response = Response(server: request.server, message: message)
    network.simulator.schedule(after: .milliseconds(1)) {
      network.answer(request.client, response)
    }
  }
  func forward(_ request: Request, _ message: Message, to server: EntityID) {
    refuse(.notFound, request)
  }
  func sendDatagram(_ message: Message, from client: EntityID, to server: EntityID) {
    if server.isGroup { network.multicast(message, from: client, self) }
  }
  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {}
  func unwatch(_ descriptor: Int32) {}
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    network.simulator.schedule(after: span, body)
  }
  func disk(_ priority: Priority, _ work: @escaping @Sendable () -> Void) {
    network.simulator.schedule(after: .milliseconds(1), work)
  }
}
