import Foundation
import Synchronization
import VProtocol
import VRuntime

/// A backplane with servers only: passes a request to a procedure and waits for its reply.
final class TestBackplane: Backplane {
  private struct State {
    var servers: [EntityID: Procedure] = [:]
    var groups: [EntityID: [EntityID]] = [:]
    var replies: [EntityID: [Message]] = [:]
    var nextEntity: UInt32 = 1
    var diskJobs = 0
    var timers: [@Sendable () -> Void] = []
    /// The flags of the descriptor that a client got with its reply.
    var passedModes: [EntityID: Int32] = [:]
    var now = Time(nanoseconds: 0)
  }

  private let state = Mutex(State())
  /// As few as a node has.
  private let threads = {
    let threads = OperationQueue()
    threads.maxConcurrentOperationCount = 8
    return threads
  }()
  let host: String
  var now: Time { state.withLock { $0.now } }
  var wallClock: Int64 { 0 }

  init(host: String = "kea") { self.host = host }

  /// Time stands still except for these calls.
  func pass(_ span: TimeSpan) { state.withLock { $0.now = $0.now + span } }

  func random() -> UInt64 { UInt64.random(in: .min ... .max) }
  func makeClient(_ user: ClientUser) -> EntityID { newEntity() }
  func retire(_ entity: EntityID) {}

  func makeServer(knowsPrincipals: Bool, _ procedure: @escaping Procedure) -> EntityID {
    let entity = newEntity()
    state.withLock { $0.servers[entity] = procedure }
    return entity
  }

  func join(_ server: EntityID, group: EntityID) {
    state.withLock { $0.groups[group, default: []].append(server) }
  }

  func send(
    _ message: Message, from client: EntityID, to server: EntityID, options: SendOptions,
    completion: @escaping Completion
  ) {
    // The server asks only whether owners of instances are alive; here they all are.
    guard let probe = try? ProbeEntity(parsing: message), message.mcb.code == ProbeEntity.code
    else { preconditionFailure("the file server sends nothing else") }
    let state = ProbeEntity.EntityState(
      transaction: TransactionID(1), entity: probe.process, isAwaitingResponse: false,
      principal: "ann@kea")
    completion(Response(server: server, message: state.message))
  }

  func reply(_ message: Message, to request: Request) {
    state.withLock { $0.replies[request.client, default: []].append(message) }
  }

  func reply(_ message: Message, to request: Request, passing descriptor: PassedDescriptor) {
    let mode = fcntl(descriptor.number, F_GETFL) & O_ACCMODE
    state.withLock { $0.passedModes[request.client] = mode }
    reply(message, to: request)
  }

  func forward(_ request: Request, _ message: Message, to server: EntityID) {
    preconditionFailure("the file server forwards nothing")
  }

  func sendDatagram(_ message: Message, from client: EntityID, to server: EntityID) {
    preconditionFailure("the file server sends nothing")
  }

  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {}
  func unwatch(_ descriptor: Int32) {}

  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    state.withLock { $0.timers.append(body) }
  }

  func disk(_ priority: Priority, _ work: @escaping @Sendable () -> Void) {
    state.withLock { $0.diskJobs += 1 }
    threads.addOperation(work)
  }

  private func newEntity() -> EntityID {
    state.withLock { state in
      defer { state.nextEntity += 1 }
      return EntityID(kernel: KernelID(0xC0A8_0001), discriminator: state.nextEntity)
    }
  }
}

// MARK: What tests ask for

extension TestBackplane {
  /// How often work was moved to a disk thread.
  var diskJobs: Int { state.withLock { $0.diskJobs } }

  /// Runs everything that waits for its time, now.
  func runTimers() {
    let timers = state.withLock { state in
      defer { state.timers = [] }
      return state.timers
    }
    for timer in timers { timer() }
  }

  /// Sends a message and returns the one reply; nil if none comes.
  func exchange(
    _ message: Message, to addressee: EntityID, as principal: Principal?,
    isLocal: Bool? = nil, waitSeconds: Double = 10
  ) -> Message? {
    let client = begin(message, to: addressee, as: principal, isLocal: isLocal)
    let end = Date(timeIntervalSinceNow: waitSeconds)
    while Date() < end {
      if let reply = reply(to: client) { return reply }
      Thread.sleep(forTimeInterval: 0.0002)
    }
    return nil
  }

  /// Sends a message; returns the client that sent it.
  ///
  /// It comes from the host of the principal, if nothing else is given.
  func begin(
    _ message: Message, to addressee: EntityID, as principal: Principal?, isLocal: Bool? = nil
  ) -> EntityID {
    let client = newEntity()
    for server in state.withLock({ $0.groups[addressee] ?? [addressee] }) {
      guard let procedure = state.withLock({ $0.servers[server] }) else { continue }
      procedure(
        Request(
          client: client, transaction: TransactionID(1), addressee: addressee,
          server: server, forwardCount: 0, message: message, principal: principal,
          isLocal: isLocal ?? (principal?.host == host)))
    }
    return client
  }

  /// The flags of the descriptor that a client got; nil if it got none.
  func passedMode(to client: EntityID) -> Int32? { state.withLock { $0.passedModes[client] } }

  /// The reply to a client so far.
  func reply(to client: EntityID) -> Message? {
    let replies = state.withLock { $0.replies[client] ?? [] }
    precondition(replies.count <= 1, "a request is answered once")
    return replies.first
  }

  func exchange<Op: VProtocol.Operation>(
    _ operation: Op, to addressee: EntityID, as principal: Principal?, isLocal: Bool? = nil
  ) throws -> Op.Answer {
    guard let reply = exchange(operation.message, to: addressee, as: principal, isLocal: isLocal)
    else {
      throw Refusal(code: .userTimeout)
    }
    guard reply.reply.isOK else { throw Refusal(code: reply.reply) }
    return try Op.Answer(parsing: reply)
  }
}

/// A reply other than OK.
struct Refusal: Error, Equatable {
  var code: ReplyCode
}
