public import VProtocol

/// The result of a Send: the answer, or a code without one.
public struct Response: Sendable {
  /// The server that answered, not the group that was asked; `none` without an answer.
  public var server: EntityID
  public var message: Message
  /// A descriptor that a server of this host passed with its answer.
  public var descriptor: PassedDescriptor?

  public init(server: EntityID, message: Message, descriptor: PassedDescriptor? = nil) {
    self.server = server
    self.message = message
    self.descriptor = descriptor
  }

  public var code: ReplyCode { message.reply }
}

/// Called once, on the thread that read the response, outside every lock.
public typealias Completion = @Sendable (Response) -> Void

/// A procedure that is invoked for every request, many at once; it answers with `reply` now or
/// later.
public typealias Procedure = @Sendable (Request) -> Void

/// How a request is sent.
public struct SendOptions: Sendable {
  /// Ends with `userTimeout` after this long; nil waits as long as the peer kernel lives.
  public var timeLimit: TimeSpan?
  /// For a group: every member's response is delivered, and `userTimeout` ends the transaction at
  /// the time limit, which must be set.
  public var collectsResponses: Bool
  /// In a large cluster the collected responses come one after another, in up to 40 ms; without
  /// it, all at once: then some of large ones are lost, and asked for again.
  public var spreadsResponses: Bool
  /// It is sent with this priority, or with that of its client if that is lower.
  public var priority: Priority

  public init(
    timeLimit: TimeSpan? = nil, collectsResponses: Bool = false, spreadsResponses: Bool = true,
    priority: Priority = .urgent
  ) {
    self.timeLimit = timeLimit
    self.collectsResponses = collectsResponses
    self.spreadsResponses = spreadsResponses
    self.priority = priority
  }
}

/// The user that a client entity acts for.
///
/// A literal is a user of the node's own process: root with all of its rights.
public struct ClientUser: Hashable, Sendable, ExpressibleByStringLiteral {
  public var name: String
  public var marks: Principal.Marks
  /// The highest priority of its messages.
  public var priority: Priority

  public init(_ name: String, marks: Principal.Marks, priority: Priority = .normal) {
    self.name = name
    self.marks = marks
    self.priority = priority
  }
  public init(own name: String) { self.init(name, marks: name == "root" ? .fullRoot : []) }
  public init(stringLiteral name: String) { self.init(own: name) }
}

/// The interface between a server and its node: the message kernel and the loop.
///
/// The same server runs on a `Node`, on an attached process and in the simulator. No call waits.
/// Completions, procedures, watchers and timers run on the loop's threads and must not block; work
/// that may block goes to `disk`.
public protocol Backplane: AnyObject, Sendable {
  /// The name of this host in `/v`.
  var host: String { get }
  /// The node's clock, which is never set, and runs while the machine is suspended.
  var now: Time { get }
  /// Nanoseconds since 1970 on the host's clock.
  var wallClock: Int64 { get }
  /// 64 unpredictable bits; from the seed in the simulator.
  func random() -> UInt64

  /// A new client entity of `user` on this host. It has one transaction at a time.
  ///
  /// An attached process gets only the marks that the node grants it. `none` if the user has used
  /// up its share of entities: all Sends from `none` are refused.
  func makeClient(_ user: ClientUser) -> EntityID
  /// Ends an entity: its transaction is abandoned, its identifier is not used again for 15 minutes.
  func retire(_ entity: EntityID)
  /// The kernel on which an entity is, as far as this host knows; at first the one that made it.
  func kernel(of entity: EntityID) -> KernelID
  /// A new server entity.
  ///
  /// With `knowsPrincipals` every request is given once, with the sender's principal. Without,
  /// copies of a request may be given: every operation may be repeated.
  func makeServer(knowsPrincipals: Bool, _ procedure: @escaping Procedure) -> EntityID
  /// Adds a server to a group: it gets the messages to the group.
  func join(_ server: EntityID, group: EntityID)

  /// Starts a message transaction; `completion` is called exactly once (more often only with
  /// `collectsResponses`), unless `client` is retired first, then never.
  func send(
    _ message: Message, from client: EntityID, to server: EntityID, options: SendOptions,
    completion: @escaping Completion)
  /// Answers a request; once. A late or second answer is dropped.
  func reply(_ message: Message, to request: Request)
  /// Answers, and passes a descriptor if the client is on this host and can take one.
  func reply(_ message: Message, to request: Request, passing descriptor: PassedDescriptor)

  /// Forwards a request to another server, which answers its client; `message` is the request that
  /// this server gets.
  func forward(_ request: Request, _ message: Message, to server: EntityID)
  /// Sends a request that gets no response and may be lost.
  ///
  /// If more than 1,024 octets of segment are sent, a part of them may be lost: then nothing is
  /// delivered, or, with a mask of blocks (MDM), the part that came.
  func sendDatagram(_ message: Message, from client: EntityID, to server: EntityID)

  /// Calls `handler` whenever `descriptor` becomes readable (edge-triggered: read until EAGAIN).
  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void)
  func unwatch(_ descriptor: Int32)
  /// Calls `body` once, not before `span` has passed.
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void)
  /// Runs `work` on a plain thread that may block; what is more urgent comes first.
  func disk(_ priority: Priority, _ work: @escaping @Sendable () -> Void)
}

extension Backplane {
  /// For a backplane that does not learn where entities have moved.
  public func kernel(of entity: EntityID) -> KernelID { entity.kernel }

  /// A new client of the backplane's own process, for `user`.
  public func makeClient(user: String) -> EntityID { makeClient(ClientUser(own: user)) }

  /// Runs work of no client.
  public func disk(_ work: @escaping @Sendable () -> Void) { disk(.normal, work) }

  /// For a backplane that passes no descriptors.
  public func reply(
    _ message: Message, to request: Request, passing descriptor: PassedDescriptor
  ) {
    reply(message, to: request)
  }

  /// Starts a message transaction of one server with another one.
  public func send(
    _ message: Message, _ order: PartySend, from client: EntityID, to server: EntityID,
    options: SendOptions = SendOptions(), completion: @escaping Completion
  ) {
    send(message, from: client, to: server, options: options, completion: completion)
  }

  /// Sends an operation and hands over its parsed answer, or the code instead of one.
  ///
  /// An answer that does not parse is `vmtpError`. A descriptor that comes with it goes to
  /// `takeDescriptor` first.
  public func send<Op: Operation>(
    _ operation: Op, from client: EntityID, to server: EntityID,
    options: SendOptions = SendOptions(),
    takeDescriptor: (@Sendable (PassedDescriptor) -> Void)? = nil,
    completion: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    send(operation.message, from: client, to: server, options: options) { response in
      guard response.code.isOK else { return completion(.refused(Refusal(response.message))) }
      if let descriptor = response.descriptor { takeDescriptor?(descriptor) }
      do throws(WireError) {
        completion(.done(try Op.Answer(parsing: response.message), by: response.server))
      } catch {
        completion(.refused(.vmtpError))
      }
    }
  }
}

/// The outcome of an operation.
public enum Answer<Value: Sendable>: Sendable {
  case done(Value, by: EntityID)
  case refused(Refusal)

  public static func refused(_ code: ReplyCode) -> Answer { .refused(Refusal(code)) }
}
