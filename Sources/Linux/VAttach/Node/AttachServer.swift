import CVLinux
import Glibc
import Synchronization
public import VProtocol
public import VRuntime

/// Why a node does not listen for processes.
public struct AttachServerError: Error, CustomStringConvertible {
  public var description: String
}

/// The local socket at which Linux processes join a node: each becomes a team like any other.
///
/// A board: what it does for a process it does through the node's own backplane. Anybody may
/// connect; what a process may do follows from the user that Linux says it is.
public final class AttachServer: Sendable {
  private struct State: ~Copyable {
    /// A user who is connected, or was a short time ago.
    struct User {
      let account: AttachAccount
      var connections = 0
    }

    var endings: [String: Int] = [:]
    /// What ended processes had is soon given back to the machine.
    var isTrimming = false
    /// Connections whose user has no name yet, by number, and those of the others.
    var unnamed: Shares
    var named: Shares
    /// What users have, by name; all that have none are one.
    ///
    /// That of a user without connections stays until it could as well be made anew.
    var users: [String: User] = [:]

    /// The account of a user who has one connection more now.
    mutating func enter(_ user: Principal, _ limits: AttachLimits, at now: Time) -> AttachAccount {
      let key = AttachServer.key(user)
      if users[key] == nil {
        users = users.filter { _, user in
          user.connections > 0 || !user.account.isForgettable(at: now)
        }
      }
      users[key, default: User(account: AttachAccount(limits, isOwner: false))].connections += 1
      return users[key]!.account
    }

    mutating func leave(_ user: Principal) { users[AttachServer.key(user)]?.connections -= 1 }
  }

  private let node: any Backplane
  private let kernel: KernelID
  private let path: String
  private let users: any UserNames
  private let processEnded: @Sendable () -> Void
  private let trimMemory: @Sendable () -> Void
  private let listener: Int32
  private let limits: AttachLimits
  /// That of all processes of the node's owner.
  private let ownersAccount: AttachAccount
  private let state: Mutex<State>

  /// Memory is given back to the machine at most once in this time: it takes some milliseconds.
  private static let trimPause = TimeSpan.seconds(1)
  /// When to look again after descriptors ran out.
  private static let acceptPause = TimeSpan.milliseconds(100)

  /// Listens at `path` for processes that are to join `node`, which is `kernel`; makes the
  /// directory of `path` if that is missing.
  ///
  /// A socket there that nobody answers on is replaced. `users` names who connects.
  /// `processEnded` is called whenever a process and all its entities are gone.
  public convenience init(
    _ node: any Backplane, kernel: KernelID, path: String, users: any UserNames,
    limits: AttachLimits = AttachLimits(), processEnded: @escaping @Sendable () -> Void = {}
  ) throws(AttachServerError) {
    try self.init(
      node, kernel: kernel, path: path, users: users, limits: limits,
      processEnded: processEnded, trimMemory: { v_memory_trim() })
  }

  /// With another way to give memory back to the machine, for tests.
  package init(
    _ node: any Backplane, kernel: KernelID, path: String, users: any UserNames,
    limits: AttachLimits, processEnded: @escaping @Sendable () -> Void,
    trimMemory: @escaping @Sendable () -> Void
  ) throws(AttachServerError) {
    self.trimMemory = trimMemory
    self.node = node
    self.kernel = kernel
    self.path = path
    self.users = users
    self.processEnded = processEnded
    self.limits = limits
    ownersAccount = AttachAccount(limits, isOwner: true)
    state = Mutex(
      State(
        unnamed: Shares(capacity: limits.unnamed, ownHost: node.host),
        named: Shares(capacity: limits.processes, ownHost: node.host)))
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      let directory = String(path[..<slash])
      // Whatever the umask is: users must reach the socket.
      if unsafe mkdir(directory, 0o755) == 0 { unsafe chmod(directory, 0o755) }
    }
    listener = unsafe v_attach_listen(path)
    guard listener >= 0 else {
      let reason =
        listener == -EADDRINUSE
        ? "another node answers there, or it is not a socket"
        : unsafe String(cString: strerror(-listener))
      throw AttachServerError(description: "cannot listen at \(path): \(reason)")
    }
    node.watch(listener) { [self] in accept() }
  }

  deinit { if listener >= 0 { Glibc.close(listener) } }

  /// Stops listening.
  ///
  /// Processes that are attached stay so.
  public func close() {
    node.unwatch(listener)
    unsafe unlink(path)
  }

  /// Processes attached now, and those about to be.
  public var processCount: Int { state.withLock { $0.named.count + $0.unnamed.count } }

  /// What is kept for processes of users that have not read it, in octets.
  public var unreadOctets: Int {
    state.withLock {
      $0.users.values.reduce(ownersAccount.octets.count) { sum, user in
        sum + user.account.octets.count
      }
    }
  }

  /// How often connections ended, by reason.
  public var endings: [String: Int] { state.withLock { $0.endings } }

  private func accept() {
    for _ in 0..<limits.connectionsOfTurn {
      var peer = v_peer_credentials()
      let socket = unsafe v_attach_accept(listener, &peer)
      switch socket {
      case 0...:
        admit(socket, peer)
      case -EINTR, -ECONNABORTED, -EPROTO:
        continue
      case -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS:
        node.after(Self.acceptPause) { [weak self] in self?.accept() }
        return
      default:
        return
      }
    }
    node.after(TimeSpan(nanoseconds: 0)) { [weak self] in self?.accept() }
  }

  private func admit(_ socket: Int32, _ peer: v_peer_credentials) {
    // Now, while the process is there: its number may be another's later.
    let isFullRoot = peer.uid == 0 && v_is_full_root_peer(socket, peer.pid) == 1
    let isOwner = peer.uid == 0 ? isFullRoot : peer.uid == geteuid()
    let unnamed = payer("\(peer.uid)", isOwner: isOwner)
    guard state.withLock({ $0.unnamed.take(unnamed) }) else {
      return refuse(socket, "tooManyProcesses")
    }
    let enter: @Sendable (String?) -> Void = { [self] name in
      state.withLock { $0.unnamed.give(unnamed) }
      // Not taken for somebody without a name: that would be somebody else.
      guard let name else { return refuse(socket, "unknownUser") }
      start(socket, name, isOwner: isOwner)
    }
    // Root has its name on every host, and needs no table.
    if peer.uid == 0 { return enter("root") }
    // The table may be on another machine. What it said earlier may be about another user by now,
    // and a connection lasts: so that is asked for anew.
    users.find([.userName(peer.uid)]) { [self] in enter(name(of: peer.uid)) }
  }

  private func start(_ socket: Int32, _ name: String, isOwner: Bool) {
    let user = payer(name, isOwner: isOwner)
    let account = state.withLock { state in
      guard state.named.take(user) else { return AttachAccount?.none }
      return isOwner ? ownersAccount : state.enter(user, limits, at: node.now)
    }
    guard let account else { return refuse(socket, "tooManyProcesses") }
    let process = AttachedProcess(
      node, kernel, socket: socket, AttachRights(user: name, isOwner: isOwner), account
    ) { [weak self, processEnded] ending, octets in
      self?.leave(user, isOwner: isOwner, ending, octets)
      processEnded()
    }
    process.start()
  }

  /// The name of a user; `#uid` where there is none that could be a principal's, and nil where
  /// the table of users has not told.
  private func name(of uid: UInt32) -> String? {
    switch users.userName(uid) {
    case .known(let name): return Principal.user(ofAccount: name, number: uid)
    case .absent: return Principal.user(ofAccount: nil, number: uid)
    case .unknown: return nil
    }
  }

  private func refuse(_ socket: Int32, _ reason: String) {
    state.withLock { $0.endings[reason, default: 0] += 1 }
    Glibc.close(socket)
  }

  /// Who pays for a connection: the node's owner as root does.
  private func payer(_ name: String, isOwner: Bool) -> Principal {
    Principal(
      user: isOwner ? "root" : name, host: node.host, marks: isOwner ? .fullRoot : [])
  }

  private static func key(_ user: Principal) -> String {
    user.user.hasPrefix("#") ? "#" : user.user
  }

  private func leave(
    _ user: Principal, isOwner: Bool, _ ending: AttachEnding, _ octets: Int
  ) {
    let trims = state.withLock { state in
      state.endings[ending.rawValue, default: 0] += 1
      state.named.give(user)
      if !isOwner { state.leave(user) }
      guard octets >= limits.octetsWorthTrimming, !state.isTrimming else { return false }
      state.isTrimming = true
      return true
    }
    guard trims else { return }
    node.after(Self.trimPause) { [weak self, node, trimMemory] in
      self?.state.withLock { $0.isTrimming = false }
      node.disk(trimMemory)
    }
  }
}
