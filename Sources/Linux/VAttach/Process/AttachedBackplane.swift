import Glibc
import Synchronization
import VLoop
public import VProtocol
public import VRuntime

/// The backplane for a Linux process of its own: the same interface, over the node's local socket.
///
/// One thread, the loop, reads the socket and runs completions, procedures, watchers and timers;
/// any thread may call. Making an entity asks the node and waits for its answer, as `sendAndWait`
/// waits for a response: the loop wakes the caller, which costs one switch of threads.
///
/// When the node ends, everything under way ends with `retransmissionTimeout` (its host is down),
/// and so do later Sends: the process must attach to a new node.
public final class AttachedBackplane: Backplane {
  struct State: Sendable {
    var entities: Set<EntityID> = []
    var procedures: [EntityID: Procedure] = [:]
    var transactions: [EntityID: Transaction] = [:]
    var questions: [UInt32: Question] = [:]
    var nextToken: UInt32 = 1
    /// Frames that came while the loop waited for the answer to its own question.
    var backlog: [AttachFrame] = []
    var isDetached = false
    var observer: (@Sendable () -> Void)?
  }

  struct Transaction: Sendable {
    var completion: Completion
    var collectsResponses: Bool
  }

  /// A question to the node.
  struct Question: Sendable {
    var procedure: Procedure?
    /// Whether the answer has a new entity.
    var makesEntity = true
    var answer: Mailbox<Answer<EntityID>>
  }

  public let host: String
  /// The user of this process, as the node sees it.
  public let user: String
  /// The node's kernel.
  public let kernel: KernelID
  let socket: AttachSocket
  let loop: EventLoop
  let state = Mutex(State())
  /// Held while a frame is sent, so that frames stay in order.
  let order = Mutex(())
  private let threads = WorkThreads()

  /// Attaches to the node that listens at `socketPath`, which must answer within `timeLimit`.
  public init(
    socketPath: String = AttachedBackplane.defaultSocketPath, timeLimit: TimeSpan = .seconds(5)
  ) throws(AttachError) {
    socket = try AttachSocket(path: socketPath)
    guard let loop = EventLoop() else {
      throw AttachError(description: "cannot make an event loop: out of descriptors")
    }
    self.loop = loop
    let milliseconds = Int32(clamping: timeLimit.nanoseconds / 1_000_000)
    guard socket.wait(milliseconds: milliseconds) else {
      throw AttachError(description: "the node at \(socketPath) does not answer", isSilent: true)
    }
    switch socket.receive() {
    case .frame(.welcome(let kernel, let principal)):
      self.kernel = kernel
      user = principal.user
      host = principal.host
    case .frame, .nothing, .noFrame:
      throw AttachError(description: "what listens at \(socketPath) is not a node")
    case .end:
      throw AttachError(description: "the node at \(socketPath) takes no more processes")
    }
    loop.watch(socket.descriptor) { [self] in drain() }
    loop.start(threads: 1, name: "v-attach", afterEach: { [self] in drainBacklog() })
  }

  /// `V_SOCKET` if it is set, else the socket of the system's node, else that of the user's node.
  public static var defaultSocketPath: String {
    if let path = unsafe getenv("V_SOCKET").map({ unsafe String(cString: $0) }), !path.isEmpty {
      return path
    }
    if unsafe access(AttachFrame.socketPath, F_OK) != 0,
      let directory = unsafe getenv("XDG_RUNTIME_DIR").map({ unsafe String(cString: $0) })
    {
      let path = "\(directory)/v/node.sock"
      if unsafe access(path, F_OK) == 0 { return path }
    }
    return AttachFrame.socketPath
  }

  /// Whether the node is still there.
  public var isAttached: Bool { !state.withLock { $0.isDetached } }

  /// Calls `body` once, when the node has ended or was left.
  public func whenDetached(_ body: @escaping @Sendable () -> Void) {
    let isDetached = state.withLock { state in
      if !state.isDetached { state.observer = body }
      return state.isDetached
    }
    if isDetached { body() }
  }

  /// Leaves the node: all entities end.
  ///
  /// The backplane must not be used afterwards.
  public func close() {
    socket.end()
    detach()
    loop.end()
    threads.end()
  }

  // MARK: entities

  /// `none` if the node refuses; all Sends from `none` are refused.
  public func makeClient(_ user: ClientUser) -> EntityID {
    guard user.name.utf8.count <= Principal.userBytesMax else { return .none }
    guard case .done(let entity, _) = ask(nil, { .makeClient(token: $0, user) }) else {
      return .none
    }
    return entity
  }

  public func makeServer(knowsPrincipals: Bool, _ procedure: @escaping Procedure) -> EntityID {
    let answer = ask(procedure) { .makeServer(token: $0, knowsPrincipals: knowsPrincipals) }
    guard case .done(let entity, _) = answer else { return .none }
    return entity
  }

  public func join(_ server: EntityID, group: EntityID) {
    _ = tryJoin(server, group: group)
  }

  /// Joins a group and returns whether the node allows it.
  public func tryJoin(_ server: EntityID, group: EntityID) -> ReplyCode {
    guard owns(server) else { return .noPermission }
    let answer = ask(nil, makesEntity: false) {
      .join(token: $0, server: server, group: group)
    }
    switch answer {
    case .done: return .ok
    case .refused(let refusal): return refusal.code
    }
  }

  public func retire(_ entity: EntityID) {
    order.withLock { _ in
      let isOwn = state.withLock { state in
        state.procedures[entity] = nil
        state.transactions[entity] = nil
        return state.entities.remove(entity) != nil
      }
      if isOwn { socket.send(.retire(entity)) }
    }
  }

  // MARK: messages

  public func send(
    _ message: Message, from client: EntityID, to server: EntityID, options: SendOptions,
    completion: @escaping Completion
  ) {
    precondition(
      !options.collectsResponses || options.timeLimit != nil,
      "all responses are waited for up to a limit")
    var options = options
    options.timeLimit = options.timeLimit.map {
      max(TimeSpan(nanoseconds: 1), min($0, AttachFrame.timeLimitMax))
    }
    let code: ReplyCode? = order.withLock { _ in
      let code: ReplyCode? = state.withLock { state in
        if state.isDetached { return .retransmissionTimeout }
        if client == .none { return .noPermission }
        if server == .none { return .nonexistentEntity }
        precondition(state.entities.contains(client), "send from an entity that was retired")
        precondition(
          state.transactions[client] == nil, "one transaction at a time for each client")
        state.transactions[client] = Transaction(
          completion: completion, collectsResponses: options.collectsResponses)
        return nil
      }
      if code == nil { socket.send(.send(message, client: client, server: server, options)) }
      return code
    }
    guard let code else { return }
    loop.after(nanoseconds: 0) {
      completion(Response(server: .none, message: Message(reply: code)))
    }
  }

  /// Whether the caller is on the loop's thread, which must not wait.
  package var isLoop: Bool { loop.isCurrent }

  /// Sends and waits for the response, on any thread but the loop's.
  public func sendAndWait(
    _ message: Message, from client: EntityID, to server: EntityID,
    options: SendOptions = SendOptions()
  ) -> Response {
    precondition(!isLoop, "the loop's thread cannot wait for itself")
    let mailbox = Mailbox<Response>()
    send(message, from: client, to: server, options: options) { mailbox.put($0) }
    return mailbox.wait()
  }

  /// Sends an operation and waits for its parsed answer, or the code instead of one.
  public func sendAndWait<Op: Operation>(
    _ operation: Op, from client: EntityID, to server: EntityID,
    options: SendOptions = SendOptions()
  ) -> Answer<Op.Answer> {
    precondition(!isLoop, "the loop's thread cannot wait for itself")
    let mailbox = Mailbox<Answer<Op.Answer>>()
    send(operation, from: client, to: server, options: options) { mailbox.put($0) }
    return mailbox.wait()
  }

  public func sendDatagram(_ message: Message, from client: EntityID, to server: EntityID) {
    guard server.isValid else { return }
    order.withLock { _ in
      if owns(client) {
        socket.send(.datagram(message, client: client, server: server))
      }
    }
  }

  public func reply(_ message: Message, to request: Request) {
    // A datagram is not answered.
    if request.message.mcb.flags.contains(.datagram) { return }
    order.withLock { _ in
      if owns(request.server) { socket.send(.reply(message, to: AttachFrame.RequestName(request))) }
    }
  }

  public func forward(_ request: Request, _ message: Message, to server: EntityID) {
    guard server.isValid, !server.isGroup else {
      return reply(Message(reply: .nonexistentEntity), to: request)
    }
    order.withLock { _ in
      if owns(request.server) {
        socket.send(.forward(message, AttachFrame.RequestName(request), to: server))
      }
    }
  }

  private func owns(_ entity: EntityID) -> Bool {
    state.withLock { $0.entities.contains(entity) }
  }

  // MARK: this machine

  public var now: Time { Time(nanoseconds: EventLoop.now) }
  public var wallClock: Int64 { EventLoop.wallClock }

  public func random() -> UInt64 {
    var generator = SystemRandomNumberGenerator()
    return generator.next()
  }

  public func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    loop.watch(descriptor, handler)
  }
  public func unwatch(_ descriptor: Int32) { loop.unwatch(descriptor) }
  public func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    loop.after(nanoseconds: span.nanoseconds, body)
  }
  public func disk(_ priority: Priority, _ work: @escaping @Sendable () -> Void) {
    threads.add(priority, work)
  }
}
