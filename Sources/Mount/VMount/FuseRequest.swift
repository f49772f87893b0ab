internal import CFuse3
internal import CVLinux
internal import Glibc
internal import Synchronization
internal import VProtocol
internal import VRuntime

/// One request of the kernel, to be answered exactly once.
///
/// A second answer traps. A request that a signal ended has its answer already: what is said
/// later is dropped, and `false` tells the caller to undo what the kernel never heard of.
final class FuseRequest: Sendable {
  private enum Phase { case open, answered, givenUp }

  private struct State {
    var phase = Phase.open
    var isListed = false
    var isInterrupted = false
    var wait: Wait?
    /// What is given up together with the request.
    var transactions: [ClientPool.Transaction] = []
    /// What came with the answer to an open.
    var passed: PassedDescriptor?
    /// Who asks, once it was asked for.
    var user: ClientUser?
  }

  /// An operation that waits, at its manager, for people or other programs.
  private struct Wait {
    /// An entity that sends nothing else until nobody can ask for the end of the wait.
    let client: EntityID
    let manager: EntityID
    let user: ClientUser
    var mustEnd = false
  }

  /// libfuse's handle of the request; valid until it is answered, which happens once.
  @safe private struct Handle: @unchecked Sendable {
    let request: fuse_req_t
  }

  let mount: Mount
  /// The kernel's number of the request, which an INTERRUPT names.
  let unique: UInt64
  /// The names of the numbers in the request, of who asks among them.
  let names: RequestNames
  private var name: String { names.user }
  /// The process that asks; 0 where this node cannot see it.
  private let process: Int32
  /// The permissions in a mode that this request may give to a new object.
  private let permissionMask: UInt32
  /// The request must clear set-user and set-group bits (HANDLE_KILLPRIV_V2).
  let dropsPrivileges: Bool

  private let handle: Handle
  private let state = Mutex(State())

  /// A signal is given this long to be overtaken by the answer; more would be felt at a terminal.
  private static let interruptGrace = TimeSpan.milliseconds(200)
  /// A manager that does not answer is silent after 2 s, so a wait has ended by then.
  private static let waitGrace = TimeSpan.seconds(3)
  private static let cancelInterval = TimeSpan.milliseconds(50)

  /// The request that libfuse hands to an operation, on the thread that read it.
  @safe init(_ request: fuse_req_t) {
    handle = unsafe Handle(request: request)
    mount = unsafe Mount.of(fuse_req_userdata(request))
    let context = unsafe fuse_req_ctx(request)!
    process = unsafe context.pointee.pid
    permissionMask = unsafe 0o7777 & ~UInt32(context.pointee.umask)
    let reader = Reader.current
    unique = reader.unique
    names = reader.names
    dropsPrivileges = reader.dropsPrivileges
  }

  func permissions(_ mode: UInt32) -> UInt32 { mode & permissionMask }

  /// Who asks, as a principal of this host: the same one for the whole request.
  var user: ClientUser { user(asking: .none) }

  /// Whether root is root of the host or of a container in it matters to all managers but those of
  /// files, and takes longer to find out than most requests take: so it is not asked for them.
  private func user(asking manager: EntityID) -> ClientUser {
    if let known = state.withLock({ $0.user }) { return known }
    var marks = Principal.Marks.mountMade
    if name == "root", !mount.isStore(manager), v_is_full_root(process) == 1 {
      marks.insert(.fullRoot)
    }
    return state.withLock { state in
      let user = state.user ?? ClientUser(name, marks: marks)
      state.user = user
      return user
    }
  }
}

// MARK: - What the request waits for

extension FuseRequest {
  /// Sends an operation for this request, as the user who made it unless another is named.
  ///
  /// An answer that came after the request was given up is not handed over, unless the operation
  /// `mustEnd` because its effect has to be undone then. One that may wait for others comes with
  /// `undo`: a signal asks its manager to end the wait, and its answer is handed over in any case;
  /// `undo` is called if the manager fell silent and, when it is back, has done the operation. One
  /// that `mustEnd` too gives the program its own result, before the signal takes effect.
  func send<Op: Operation>(
    _ operation: Op, to manager: EntityID, as user: ClientUser? = nil, mustEnd: Bool = false,
    undo: (@Sendable () -> Void)? = nil,
    completion: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard prepareToWait() else { return }
    let user = user ?? self.user(asking: manager)
    if let undo {
      let wait = Wait(
        client: mount.clients.take(user), manager: manager, user: user, mustEnd: mustEnd)
      return sendAlone(operation, wait, undo, completion)
    }
    let transaction = mount.clients.send(
      operation, as: user, to: manager,
      takeDescriptor: { [self] descriptor in state.withLock { $0.passed = descriptor } },
      completion: completion)
    if mustEnd { return }
    let isGivenUp = state.withLock { state in
      if state.phase == .open { state.transactions.append(transaction) }
      return state.phase == .givenUp
    }
    if isGivenUp { mount.clients.abandon(transaction) }
  }

  private func sendAlone<Op: Operation>(
    _ operation: Op, _ wait: Wait, _ undo: @escaping @Sendable () -> Void,
    _ completion: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let isInterrupted = state.withLock { state in
      state.wait = wait
      return state.isInterrupted
    }
    mount.backplane.send(operation, from: wait.client, to: wait.manager) { [self] answer in
      var isNamed = state.withLock { state in
        defer { state.wait = nil }
        return state.isInterrupted
      }
      if case .refused(.retransmissionTimeout) = answer {
        isNamed = true
        mount.withdraw(wait.client, at: wait.manager, as: wait.user, undo)
      }
      // What was said of it may come late.
      mount.clients.give(wait.client, of: wait.user, isUseless: isNamed)
      completion(answer)
    }
    if isInterrupted { cancelWait() }
  }

  /// Asks for the end of the wait until it has ended: the operation may not have arrived yet.
  private func cancelWait() {
    guard let wait = state.withLock({ $0.wait }) else { return }
    mount.clients.send(CancelWait(wait.client), as: wait.user, to: wait.manager) { [self] answer in
      guard case .refused = answer else { return }
      mount.backplane.after(Self.cancelInterval) { [self] in cancelWait() }
    }
  }

  var isOpen: Bool { state.withLock { $0.phase == .open } }

  func takePassed() -> PassedDescriptor? { state.withLock { $0.passed.take() } }

  /// Makes the request known to INTERRUPT before it waits for anything; false if it has been
  /// given up.
  private func prepareToWait() -> Bool {
    let (isOpen, isFirst) = state.withLock { state in
      precondition(state.phase != .answered, "an answered request asks for nothing")
      defer { state.isListed = true }
      return (state.phase == .open, !state.isListed)
    }
    if isFirst { mount.waiting.withLock { $0[unique] = self } }
    return isOpen
  }

  /// The request waits for something of this host, which a signal does not end but need not await.
  func noteWait() { _ = prepareToWait() }

  /// A signal waits for the end of this request.
  func interrupt() {
    let mustEnd = state.withLock { state in
      state.isInterrupted = true
      return state.wait?.mustEnd == true
    }
    cancelWait()
    mount.backplane.after(mustEnd ? Self.waitGrace : Self.interruptGrace) { [self] in giveUp() }
  }

  /// Answers EINTR in the place of whatever the request still waits for.
  private func giveUp() {
    let transactions = state.withLock { state -> [ClientPool.Transaction]? in
      guard state.phase == .open else { return nil }
      state.phase = .givenUp
      defer { state.transactions = [] }
      return state.transactions
    }
    guard let transactions else { return }
    unlist()
    _ = unsafe fuse_reply_err(handle.request, EINTR)
    for transaction in transactions { mount.clients.abandon(transaction) }
  }

  private func unlist() { mount.waiting.withLock { $0[unique] = nil } }
}

// MARK: - The answer

extension FuseRequest {
  /// The operation was done and has nothing to say.
  func done() { answer { unsafe fuse_reply_err($0.request, 0) } }

  func fail(_ errno: Int32) {
    precondition(errno > 0, "a failure has an error number")
    answer { unsafe fuse_reply_err($0.request, errno) }
  }

  /// Hands a value to `reply`, or fails with the code that came in its place.
  func finish<Value>(_ answer: Answer<Value>, _ reply: (Value) -> Void) {
    switch answer {
    case .done(let value, _): reply(value)
    case .refused(let code): fail(code)
    }
  }

  func finish(_ answer: Answer<Done>) { finish(answer) { _ in done() } }

  /// The kernel takes ENOSYS for a word about all managers and never asks again.
  func fail(_ code: ReplyCode) {
    fail(code == .illegalRequest ? EOPNOTSUPP : code.errno == 0 ? EIO : code.errno)
  }

  /// FORGET has no answer: libfuse only frees its part.
  func forget(_ forgets: some Sequence<fuse_forget_data>) {
    for forget in forgets { mount.nodes.forget(forget.ino, forget.nlookup) }
    answer {
      unsafe fuse_reply_none($0.request)
      return 0
    }
  }

  func reply(_ octets: [UInt8]) { _ = unsafe octets.withUnsafeBytes { unsafe reply($0) } }

  /// Answers with a record of the FUSE protocol.
  ///
  /// Whether the kernel has it now: if not, what the record promised has to be taken back.
  @discardableResult
  func reply<Record: BitwiseCopyable>(_ record: Record) -> Bool {
    unsafe withUnsafeBytes(of: record) { unsafe reply($0) }
  }

  private func reply(_ bytes: UnsafeRawBufferPointer) -> Bool {
    answer {
      unsafe fuse_reply_buf(
        $0.request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }
  }

  /// Answers with several pieces, which are not copied together first.
  func reply(pieces: [[UInt8]]) {
    answer { handle in
      var vectors: [iovec] = unsafe []
      unsafe vectors.reserveCapacity(pieces.count)
      return unsafe Self.gather(pieces[...], into: &vectors) {
        unsafe fuse_reply_iov(handle.request, $0, Int32($0.count))
      }
    }
  }

  func reply(attributeBytes count: Int) { answer { unsafe fuse_reply_xattr($0.request, count) } }

  func reply(written count: Int) { answer { unsafe fuse_reply_write($0.request, count) } }

  /// Calls `body` with one vector for each piece, all of them held in place meanwhile.
  private static func gather(
    _ pieces: ArraySlice<[UInt8]>, into vectors: inout [iovec], _ body: ([iovec]) -> Int32
  ) -> Int32 {
    guard let piece = pieces.first else { return unsafe body(vectors) }
    return unsafe piece.withUnsafeBytes { bytes in
      unsafe vectors.append(
        iovec(
          iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count))
      return unsafe gather(pieces.dropFirst(), into: &vectors, body)
    }
  }

  /// Whether the kernel took the answer; false if the request was given up before.
  @discardableResult
  private func answer(_ body: (Handle) -> Int32) -> Bool {
    let (isMine, isListed) = state.withLock { state in
      precondition(state.phase != .answered, "a request is answered once")
      guard state.phase == .open else { return (false, false) }
      state.phase = .answered
      state.transactions = []
      return (true, state.isListed)
    }
    guard isMine else { return false }
    if isListed { unlist() }
    return body(handle) == 0
  }
}
