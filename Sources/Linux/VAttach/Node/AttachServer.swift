import CVLinux
import Glibc
import Synchronization
public import VProtocol
public import VRuntime

/// Why a node cannot listen for processes.
public struct AttachServerError: Error, CustomStringConvertible {
  public var description: String
}

/// The local socket at which Linux processes join a node: each becomes a team like any other.
///
/// It is a server: it carries out a process's operations on the node's own backplane. Anybody may
/// connect; the rights of a process are those of the user that Linux reports.
public final class AttachServer: Sendable {
  private struct State: ~Copyable {
    /// A user that is connected, or was a short time ago.
    struct User {
      let account: AttachAccount
      var connections = 0
    }

    var endings: [String: Int] = [:]
    /// The processes that are attached now, each by a number that is not used again.
    var processes: [UInt64: AttachedProcess] = [:]
    var lastNumber: UInt64 = 0
    /// Whether the memory of ended processes is about to be returned to the machine.
    var isTrimming = false
    /// Connections without a user name yet, by user number, and those with one.
    var unnamed: Shares
    var named: Shares
    /// The accounts of users, by name; all users without a name share one.
    ///
    /// The account of a user without connections stays until it could be made anew.
    var users: [String: User] = [:]

    /// The account of a user that has one connection more now.
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
  private let priority: @Sendable (_ process: Int32) -> Priority
  private let processEnded: @Sendable () -> Void
  private let trimMemory: @Sendable () -> Void
  private let listener: Int32
  private let limits: AttachLimits
  /// The account of all processes of the node's owner.
  private let ownersAccount: AttachAccount
  private let state: Mutex<State>

  /// Memory is returned at most once in this time: it takes some milliseconds.
  private static let trimPause = TimeSpan.seconds(1)
  /// When to try again after descriptors ran out.
  private static let acceptPause = TimeSpan.milliseconds(100)

  /// Listens at `path` for processes that join `node`, whose kernel is `kernel`; makes the
  /// directory of `path` if it is missing.
  ///
  /// A socket there without a listener is replaced. `users` names the connecting users.
  /// `priority` tells that of a connecting process, which is the highest of its clients.
  /// `processEnded` is called whenever a process and all its entities have ended.
  public convenience init(
    _ node: any Backplane, kernel: KernelID, path: String, users: any UserNames,
    limits: AttachLimits = AttachLimits(),
    priority: @escaping @Sendable (_ process: Int32) -> Priority = { _ in .normal },
    processEnded: @escaping @Sendable () -> Void = {}
  ) throws(AttachServerError) {
    try self.init(
      node, kernel: kernel, path: path, users: users, limits: limits, priority: priority,
      processEnded: processEnded, trimMemory: { v_memory_trim() })
  }

  /// With another way to return memory to the machine, for tests.
  package init(
    _ node: any Backplane, kernel: KernelID, path: String, users: any UserNames,
    limits: AttachLimits,
    priority: @escaping @Sendable (_ process: Int32) -> Priority = { _ in .normal },
    processEnded: @escaping @Sendable () -> Void,
    trimMemory: @escaping @Sendable () -> Void
  ) throws(AttachServerError) {
    self.trimMemory = trimMemory
    self.node = node
    self.kernel = kernel
    self.path = path
    self.users = users
    self.priority = priority
    self.processEnded = processEnded
    self.limits = limits
    ownersAccount = AttachAccount(limits, isOwner: true)
    state = Mutex(
      State(
        unnamed: Shares(capacity: limits.unnamed, ownHost: node.host),
        named: Shares(capacity: limits.processes, ownHost: node.host)))
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      let directory = String(path[..<slash])
      // Independent of the umask: users must reach the socket.
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
  /// Attached processes are not affected.
  public func close() {
    node.unwatch(listener)
    unsafe unlink(path)
  }

  /// Processes that are attached now, and those that connect.
  public var processCount: Int { state.withLock { $0.named.count + $0.unnamed.count } }

  /// Octets that are kept for processes of users that have not read them.
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

  /// Which Linux process each entity of an attached process belongs to.
  public var programs: [EntityID: String] {
    var programs: [EntityID: String] = [:]
    for process in state.withLock({ $0.processes }).values {
      for entity in process.entities { programs[entity] = process.program }
    }
    return programs
  }

  /// `1234.cat`; the name may be any octets.
  private static func program(_ pid: Int32) -> String {
    var name = [UInt8](repeating: 0, count: 16)
    let file = unsafe open("/proc/\(pid)/comm", O_RDONLY | O_CLOEXEC)
    let count = file < 0 ? 0 : unsafe read(file, &name, name.count)
    if file >= 0 { Glibc.close(file) }
    let letters = name.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }
    let isPlain = { (octet: UInt8) in octet > 0x20 && octet < 0x7F }
    return "\(pid)." + String(decoding: letters.map { isPlain($0) ? $0 : 0x3F }, as: UTF8.self)
  }

  private func admit(_ socket: Int32, _ peer: v_peer_credentials) {
    // Checked now, while the process exists: its number may be another's later.
    let isFullRoot = peer.uid == 0 && v_is_full_root_peer(socket, peer.pid) == 1
    let isOwner = peer.uid == 0 ? isFullRoot : peer.uid == geteuid()
    let unnamed = payer("\(peer.uid)", isOwner: isOwner)
    guard state.withLock({ $0.unnamed.take(unnamed) }) else {
      return refuse(socket, "tooManyProcesses")
    }
    let program = Self.program(peer.pid)
    let priority = self.priority(peer.pid)
    let enter: @Sendable (String?) -> Void = { [self] name in
      state.withLock { $0.unnamed.give(unnamed) }
      // It is not treated as a user without a name: that would be another user.
      guard let name else { return refuse(socket, "unknownUser") }
      let rights = AttachRights(user: name, isOwner: isOwner, priority: priority)
      start(socket, program, rights)
    }
    // Root has this name on every host, and needs no table.
    if peer.uid == 0 { return enter("root") }
    // The table may be on another machine. An earlier answer may be about another user by now, and
    // a connection lasts: so the table is asked again.
    users.find([.userName(peer.uid)]) { [self] in enter(name(of: peer.uid)) }
  }

  private func start(_ socket: Int32, _ program: String, _ rights: AttachRights) {
    let isOwner = rights.isOwner
    let user = payer(rights.user, isOwner: isOwner)
    let account = state.withLock { state in
      guard state.named.take(user) else { return AttachAccount?.none }
      return isOwner ? ownersAccount : state.enter(user, limits, at: node.now)
    }
    guard let account else { return refuse(socket, "tooManyProcesses") }
    let number = state.withLock { state in
      state.lastNumber += 1
      return state.lastNumber
    }
    let process = AttachedProcess(
      node, kernel, socket: socket, program: program, rights, account
    ) { [weak self, processEnded] ending, octets in
      self?.state.withLock { $0.processes[number] = nil }
      self?.leave(user, isOwner: isOwner, ending, octets)
      processEnded()
    }
    state.withLock { $0.processes[number] = process }
    process.start()
  }

  /// The name of a user; `#uid` if it has none that a principal can have, and nil if the table of
  /// users gave no answer.
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

  /// The principal that a connection counts for: root for the node's owner.
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
