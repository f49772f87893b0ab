public import VClient
public import VFuse
public import VProtocol
public import VRuntime

/// The global name space of V as a file system of this host: FUSE requests become calls of a
/// client, their answers FUSE replies.
///
/// ```
///   /dev/fuse -- FuseSession -- FuseRequest -- Mount -- Call -- Client -- Backplane
///                                                |
///                                      Users: names for numbers
/// ```
/// A FUSE node is an object of the client, and a FUSE handle an open object, by the same numbers.
/// The client is an ordinary client of the managers. The kernel caches nothing: entries (except
/// prefixes, for a second) and attributes have no validity time.
public final class Mount: FileSystem {
  let client: Client
  let session: FuseSession
  let users: Users
  let polls = Polls()
  private let backplane: any Backplane

  /// Mounts on the directory `mountPoint` and serves until `unmount`.
  ///
  /// `source` is the device that mount(8) shows; `nameSpace` is what is mounted. `serveOwnFiles`
  /// makes the manager of `/v/.v`, given the text of the open instances; its context 1 is that
  /// directory, which is not listed in the root.
  public init(
    _ backplane: any Backplane, _ nameSpace: NameSpace, mountPoint: String, source: String,
    names: NameCache, clients: ClientPool, users: some UserNames,
    priority: @escaping @Sendable (_ process: Int32) -> Priority = { _ in .normal },
    serveOwnFiles: (_ uio: @escaping @Sendable () -> String) -> EntityID
  ) throws(MountError) {
    self.backplane = backplane
    self.users = Users(table: users)
    session = try FuseSession(mountPoint: mountPoint, source: source)
    client = Client(backplane, nameSpace, names: names, clients: clients, priority: priority)
    let ownFiles = serveOwnFiles { [client] in client.openText }
    client.ownName = Client.OwnName(
      name: Self.ownName, manager: ownFiles, context: Self.ownRoot)
    try session.start(self)
    backplane.watch(session.descriptor) { [self] in serve() }
  }

  /// Removes the mount from the name space at once.
  ///
  /// Open files on it are still served.
  public func unmount() { session.unmount() }

  static let ownName = Array(".v".utf8)
  private static let ownRoot = ContextID(rawValue: 1)

  private func serve() {
    guard session.serve() else { return }
    backplane.unwatch(session.descriptor)
    client.end()
  }
}

// MARK: - Requests

extension Mount {
  /// The call of a request on the client.
  func call(_ request: FuseRequest) -> Call { Call(client, by: request) }

  public func forget(_ node: NodeNumber, _ count: UInt64) { client.objects.forget(node, count) }
}

extension FuseRequest: Caller {
  public func user(asking isStore: Bool) -> ClientUser {
    var marks = Principal.Marks.mountMade
    if names.user == "root", !isStore, isOfFullRoot { marks.insert(.fullRoot) }
    return ClientUser(names.user, marks: marks)
  }

  public func beginWaiting(_ call: Call) -> Bool { awaitInterrupt { call.interrupt() } }

  public func giveUp() -> Bool { endInterrupted() }

  public var isWaiting: Bool { isOpen }
}

// MARK: - Answers

extension FuseRequest {
  /// Passes a value to `reply`, or fails with the code instead of one.
  func finish<Value>(_ answer: Answer<Value>, _ reply: (Value) -> Void) {
    switch answer {
    case .done(let value, _): reply(value)
    case .refused(let refusal): fail(refusal.code)
    }
  }

  func finish(_ answer: Answer<Done>) { finish(answer) { _ in done() } }

  /// The kernel would apply ENOSYS to all managers and never ask again.
  func fail(_ code: ReplyCode) {
    let isUnknown = code == .illegalRequest
    fail(isUnknown ? FuseError.notSupported : code.errno == 0 ? FuseError.input : code.errno)
  }
}

extension Mount {
  /// Continues with the numbers of a descriptor's owner and group, as soon as the table of users
  /// has them; if it gives no answer, does `otherwise` and fails the request.
  func withOwner(
    of descriptor: Descriptor, _ request: FuseRequest, _ call: Call,
    _ body: @escaping @Sendable (OwnerNumbers) -> Void,
    otherwise: @escaping @Sendable () -> Void = {}
  ) {
    if let numbers = users.numbers(of: descriptor) { return body(numbers) }
    call.noteWait()
    users.table.find(users.questions(about: descriptor)) { [users] in
      if let numbers = users.numbers(of: descriptor) { return body(numbers) }
      otherwise()
      request.fail(FuseError.input)
    }
  }

  public func names(of numbers: RequestNumbers) -> RequestNames? {
    guard let user = users.principal(ofUser: numbers.user) else { return nil }
    guard numbers.owner != nil || numbers.group != nil else { return RequestNames(user: user) }
    guard let owner = numbers.owner.map({ users.name(ofUser: $0) }) ?? "",
      let group = numbers.group.map({ users.name(ofGroup: $0) }) ?? ""
    else { return nil }
    return RequestNames(user: user, owner: owner, group: group)
  }

  public func findNames(of numbers: RequestNumbers, _ done: @escaping @Sendable () -> Void) {
    var questions: [NameQuestion] = []
    if users.principal(ofUser: numbers.user) == nil { questions.append(.userName(numbers.user)) }
    if let owner = numbers.owner, users.name(ofUser: owner) == nil {
      questions.append(.userName(owner))
    }
    if let group = numbers.group, users.name(ofGroup: group) == nil {
      questions.append(.groupName(group))
    }
    users.table.find(questions, done)
  }
}
