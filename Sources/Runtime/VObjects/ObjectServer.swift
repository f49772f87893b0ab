public import Synchronization
public import VProtocol
public import VRuntime

/// The server of a manager: it gets every request, and passes on only those that the sender may
/// make.
///
/// ```
///  request --> of an instance: is it the sender's? ---------------> serveInstance, close
///         \--> find the caller --> of a name, or the manager's own --> create, serve
/// ```
/// It keeps the instances and the waits, shares them among principals, ends what dead processes
/// left open, answers for the manager's prefixes, and lists what is open. A manager cannot forget
/// to check an instance's principal, because it never gets a request that fails the check. For
/// names the manager itself checks the caller's rights on each object.
///
/// Every request goes through here: `@inlinable` lets each manager specialise it for its own
/// content.
public final class ObjectServer<Content: Sendable>: Sendable {
  /// The manager's part, called after the checks.
  public struct Handlers: Sendable {
    /// Opens by name; the operation has the owner of the new instance.
    public var create: @Sendable (CreateInstance, Caller, Request) -> Void
    /// Carries out another operation on a name, or one of the manager's own.
    public var serve: @Sendable (Request, Caller) -> Void
    /// Carries out an operation on an instance, for the principal that it belongs to.
    public var serveInstance: @Sendable (Request, Instance<Content>) -> Void
    /// Closes an instance, whose waits have ended; calls its argument when that is done.
    public var close: @Sendable (Instance<Content>, @escaping @Sendable () -> Void) -> Void
    /// Tells what can be done with an instance without waiting for others; without it, everything.
    public var look: (@Sendable (AwaitInstance, Request, Instance<Content>) -> Void)?
    /// What people are to read of an instance's object: a prefix and a name.
    public var label: @Sendable (Instance<Content>) -> String
    /// The path of an instance's object on this host; nil where it has none.
    public var place: @Sendable (Instance<Content>) -> String?

    public init(
      create: @escaping @Sendable (CreateInstance, Caller, Request) -> Void,
      serve: @escaping @Sendable (Request, Caller) -> Void,
      serveInstance: @escaping @Sendable (Request, Instance<Content>) -> Void,
      look: (@Sendable (AwaitInstance, Request, Instance<Content>) -> Void)? = nil,
      close: @escaping @Sendable (Instance<Content>, @escaping @Sendable () -> Void) -> Void = {
        $1()
      },
      label: @escaping @Sendable (Instance<Content>) -> String,
      place: @escaping @Sendable (Instance<Content>) -> String? = { _ in nil }
    ) {
      self.create = create
      self.serve = serve
      self.serveInstance = serveInstance
      self.look = look
      self.close = close
      self.label = label
      self.place = place
    }
  }

  public let backplane: any Backplane
  public let instances: InstanceTable<Content>
  public let waits: Waits
  @usableFromInline let claims: PrefixClaims?
  @usableFromInline let identify: @Sendable (Request) -> Caller
  @usableFromInline let state = Mutex(State())
  /// Processes that own instances, or wait.
  @usableFromInline let owners: LifeWatch

  @usableFromInline
  struct State: Sendable {
    /// For work that no request causes.
    @usableFromInline var handlers: Handlers?
    @usableFromInline var server = EntityID.none

    @usableFromInline init() {}
  }

  /// `identify` makes the caller of a request; by default as `Caller` does.
  ///
  /// Without `claims` the manager answers QueryName itself. `capacity` is that of instances,
  /// `waitsMax` that of waits.
  public init(
    _ backplane: any Backplane, claims: PrefixClaims? = nil,
    capacity: Int = InstanceLimits.instancesMax, waitsMax: Int = InstanceLimits.waitsMax,
    identify: (@Sendable (Request) -> Caller)? = nil
  ) {
    self.backplane = backplane
    self.claims = claims
    let host = backplane.host
    self.identify = identify ?? { Caller($0, at: host) }
    let instances = InstanceTable<Content>(backplane, capacity: capacity)
    self.instances = instances
    let own = LateBound<ObjectServer<Content>>()
    let waits = Waits(backplane, capacity: waitsMax)
    self.waits = waits
    owners = LifeWatch(
      backplane, of: { instances.owners.union(waits.owners) }
    ) { owner, life in
      switch life {
      case .alive: break
      case .dead: own.object?.endAll(of: owner, isLost: false)
      case .silent: own.object?.endAll(of: owner, isLost: true)
      }
    }
    own.bind(self)
  }

  /// Makes the server, once; from then on requests come.
  ///
  /// `register` makes it if it is to have a well-known identifier.
  @discardableResult
  @inlinable
  public func start(
    _ handlers: Handlers, register: ((@escaping Procedure) -> EntityID)? = nil
  ) -> EntityID {
    state.withLock { $0.handlers = handlers }
    let procedure: Procedure = { [self] in serve($0, handlers) }
    let server =
      register?(procedure) ?? backplane.makeServer(knowsPrincipals: true, procedure)
    state.withLock { $0.server = server }
    claims?.answer(for: server)
    return server
  }

  /// The entity of the server; `none` before its start.
  public var server: EntityID { state.withLock { $0.server } }

  @inlinable var handlers: Handlers {
    guard let handlers = state.withLock({ $0.handlers }) else {
      preconditionFailure("a server is started before it is asked")
    }
    return handlers
  }

  // MARK: requests

  @inlinable
  func serve(_ request: Request, _ handlers: Handlers) {
    switch request.message.mcb.code {
    // Whose an instance is, is asked of every read: as whom its sender is taken, is not.
    case QueryInstance.code...QueryLock.code, ChangeOwner.code, AwaitInstance.code:
      serveInstance(request, handlers)
    case CancelWait.code:
      backplane.serve(CancelWait.self, request) { operation in
        let isEnded = waits.cancel(operation.client, by: request.principal ?? .unnamed)
        backplane.refuse(isEnded ? .ok : .notFound, request)
      }
    case SpreadClaims.code:
      guard let claims else { return backplane.refuse(.illegalRequest, request) }
      claims.handleLoss(request)
    case QueryName.code:
      guard let claims else { return handlers.serve(request, identify(request)) }
      backplane.serve(QueryName.self, request) { query in
        guard let answer = claims.answer(query) else {
          return backplane.refuse(.notFound, request)
        }
        backplane.reply(answer, to: request)
      }
    case ListInstances.code: list(request, handlers)
    case CreateInstance.code: create(request, handlers)
    default: handlers.serve(request, identify(request))
    }
  }

  @inlinable
  func create(_ request: Request, _ handlers: Handlers) {
    backplane.serve(CreateInstance.self, request) { operation in
      guard operation.mode.isPossible else { return refuse(Refusal(.modeNotSupported), request) }
      guard isOwn(operation.owner, of: request) else {
        return refuse(Self.foreignOwner, request)
      }
      var operation = operation
      if !operation.owner.isValid { operation.owner = request.client }
      handlers.create(operation, identify(request), request)
    }
  }

  @inlinable
  func serveInstance(_ request: Request, _ handlers: Handlers) {
    let code = request.message.mcb.code
    let instance: Instance<Content>
    do throws(Refusal) {
      let id = InstanceID(rawValue: request.message.mcb.pair(1))
      instance = try instances.find(id, for: request.principal ?? .unnamed)
    } catch {
      let isGone = code == ReleaseInstance.code && error.code == .invalidFileID
      return refuse(isGone ? Refusal(.ok) : error, request)
    }
    switch code {
    case ReleaseInstance.code:
      end(instance) { [backplane] in backplane.reply(Done(), to: request) }
    case ChangeOwner.code:
      backplane.serve(ChangeOwner.self, request) { operation in
        guard isOwn(operation.owner, of: request) else {
          return refuse(Self.foreignOwner, request)
        }
        instances.change(instance, to: operation.owner)
        owners.watchLater()
        backplane.reply(Done(), to: request)
      }
    case AwaitInstance.code:
      backplane.serve(AwaitInstance.self, request) { operation in
        if let look = handlers.look { return look(operation, request, instance) }
        backplane.reply(AwaitInstance.Answer(ready: instance.able), to: request)
      }
    default: handlers.serveInstance(request, instance)
    }
  }

  @usableFromInline
  func list(_ request: Request, _ handlers: Handlers) {
    let line = line(for: identify(request), handlers)
    backplane.serveInstances(request) { start in
      instances.opened(after: start).lazy.map { (next: $0.order, line: line($0)) }
    }
  }

  /// An owner is a process of the client's own kernel, or, if it is left out, the client itself.
  @inlinable
  func isOwn(_ owner: EntityID, of request: Request) -> Bool {
    owner == .none
      || !owner.isGroup
        && backplane.kernel(of: owner) == backplane.kernel(of: request.client)
  }

  @inlinable
  static var foreignOwner: Refusal {
    Refusal(.noPermission, "the owner is no process of the client's kernel")
  }

  @inlinable
  public func refuse(_ refusal: Refusal, _ request: Request) {
    backplane.refuse(refusal, request)
  }
}

// MARK: - Instances

extension ObjectServer {
  /// Enters what was opened for `operation`, for which a place was kept.
  @inlinable
  public func enter(
    _ content: Content, for operation: CreateInstance, _ caller: Caller
  ) -> Instance<Content> {
    let instance = instances.enter(
      content, mode: operation.mode, caller, owner: operation.owner)
    owners.watchLater()
    return instance
  }

  /// The rights that opening needs, all to be checked together: 4 read, 2 write, 1 execute.
  ///
  /// A user that may run a program but not read it gets its octets only through a node's own mount,
  /// which gives them to Linux alone.
  public static func rights(wantedBy operation: CreateInstance, _ caller: Caller) -> UInt32 {
    let wanted = operation.mode.rights
    let mayRunUnread = caller.principal.marks.contains(.mountMade)
    return wanted & 1 != 0 && !mayRunUnread ? wanted | 4 : wanted
  }

  /// Ends an instance; `done` is called when it is closed.
  @inlinable
  public func end(_ instance: Instance<Content>, _ done: @escaping @Sendable () -> Void = {}) {
    guard instances.remove(instance.id) != nil else { return done() }
    waits.cancelAll(in: instance.id)
    handlers.close(instance, done)
  }

  /// Keeps a request that waits in an instance; the wait ends with the instance at the latest.
  ///
  /// `cancel` is called as in `Waits`; before this returns, if the instance has ended already.
  public func wait(
    _ request: Request, in instance: Instance<Content>,
    cancel: @escaping @Sendable (ReplyCode) -> Void
  ) throws(Refusal) {
    try waits.add(request, instance.caller, until: .instance(instance.id), cancel: cancel)
    // The instance may have ended before the wait was added.
    if instances[instance.id] == nil { waits.cancelAll(in: instance.id) }
  }

  /// Keeps an opening that waits; the wait ends with the death of the instance's future owner.
  public func wait(
    _ request: Request, for operation: CreateInstance, _ caller: Caller,
    cancel: @escaping @Sendable (ReplyCode) -> Void
  ) throws(Refusal) {
    try waits.add(request, caller, until: .owner(operation.owner), cancel: cancel)
    owners.watchLater()
  }

  private func endAll(of owner: EntityID, isLost: Bool) {
    for instance in instances.removeAll(of: owner) {
      if isLost { instance.lose() }
      waits.cancelAll(in: instance.id)
      handlers.close(instance) {}
    }
    waits.cancelAll(of: owner)
  }

  /// Makes the line of an open instance: its number, the manager, its owner, the host that it was
  /// opened from, its mode, and its object.
  private func line(
    for caller: Caller, _ handlers: Handlers
  ) -> (Instance<Content>) -> String {
    let (server, seesNumbers) = (server, caller.seesInstanceNumbers)
    return { instance in
      let place = seesNumbers ? handlers.place(instance) : nil
      let shownPlace = place.map { "\t" + $0.inLine(bytesMax: Self.labelBytesMax) } ?? ""
      return "\(seesNumbers ? "\(instance.id.rawValue)" : "-") \(server) \(instance.owner) "
        + "\(instance.caller.principal.host) \(instance.mode.words) "
        + "\(handlers.label(instance).inLine(bytesMax: Self.labelBytesMax))\(shownPlace)"
    }
  }

  /// A line is much shorter than an answer, however long its object's name is.
  private static var labelBytesMax: Int { 1024 }
}
