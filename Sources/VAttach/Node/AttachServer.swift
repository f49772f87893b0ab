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
    var processCount = 0
    var endings: [String: Int] = [:]
  }

  private let node: any Backplane
  private let kernel: KernelID
  private let path: String
  private let processEnded: @Sendable () -> Void
  private let listener: Int32
  private let budget = IdentifierBudget()
  private let state = Mutex(State())

  /// Attached at once: each costs two descriptors and its buffers.
  static let processesMax = 512
  /// When to look again after descriptors ran out.
  private static let acceptPause = TimeSpan.milliseconds(100)

  /// Listens at `path` for processes that are to join `node`, which is `kernel`; makes the
  /// directory of `path` if that is missing.
  ///
  /// A socket there that nobody answers on is replaced. `processEnded` is called whenever a process
  /// and all its entities are gone.
  public init(
    _ node: any Backplane, kernel: KernelID, path: String,
    processEnded: @escaping @Sendable () -> Void = {}
  ) throws(AttachServerError) {
    self.node = node
    self.kernel = kernel
    self.path = path
    self.processEnded = processEnded
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
  public var processCount: Int { state.withLock { $0.processCount } }

  /// How often connections ended, by reason.
  public var endings: [String: Int] { state.withLock { $0.endings } }

  private func accept() {
    while true {
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
  }

  private func admit(_ socket: Int32, _ peer: v_peer_credentials) {
    let hasRoom = state.withLock { state in
      if state.processCount < Self.processesMax {
        state.processCount += 1
        return true
      }
      state.endings["tooManyProcesses", default: 0] += 1
      return false
    }
    guard hasRoom else {
      Glibc.close(socket)
      return
    }
    // Now, while the process is there: its number may be another's later.
    let isFullRoot = peer.uid == 0 && v_is_full_root_peer(socket, peer.pid) == 1
    // The table of users may be on another machine.
    node.disk { [self] in
      let rights = AttachRights(
        user: Self.userName(peer.uid),
        isOwner: peer.uid == 0 ? isFullRoot : peer.uid == geteuid(),
        budget: budget)
      let process = AttachedProcess(node, kernel, socket: socket, rights: rights) {
        [weak self, processEnded] ending in
        self?.state.withLock { state in
          state.processCount -= 1
          state.endings[ending.rawValue, default: 0] += 1
        }
        processEnded()
      }
      process.start()
    }
  }

  /// The name of a user; `#uid` where there is none that could be a principal's.
  private static func userName(_ uid: UInt32) -> String {
    let size = AttachFrame.userBytesMax + 1
    var name = [CChar](repeating: 0, count: size)
    let count = unsafe Int(v_name_of_id(uid, 0, &name, size))
    guard count > 0,
      let text = String(validating: name[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self),
      !text.contains("@"), Principal.isName(text)
    else { return "#\(uid)" }
    return text
  }
}
