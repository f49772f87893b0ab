import Glibc
import Synchronization
import VAttach
import VCommand
import VProtocol
import VRuntime
import VStandIn

/// `v serve -- ./server`: a server that is started at the first use of its prefix, and started
/// again after it died.
final class ServedProgram: Sendable {
  private struct State: Sendable {
    var pid: pid_t?
    /// Why it could not be started.
    var failure: String?
    /// When the last one began, and how often in a row one ended at once.
    var beganAt: Time?
    var quickEnds: Int64 = 0
    var isOver = false
  }

  private let command: [String]
  private let prefix: String
  private let node: AttachedBackplane
  private let state = Mutex(State())

  /// A server that ends sooner is broken: its next start is delayed more.
  private static let quickEnd = TimeSpan.seconds(1)
  private static let pauseMax: Int64 = 60
  /// How long it may take to end at SIGTERM, in tenths of a second.
  private static let endTries = 50

  /// The program gets the prefix as `V_PREFIX`, and the node's socket as `V_SOCKET`.
  init(_ command: [String], prefix: String, _ node: AttachedBackplane) {
    self.command = command
    self.prefix = prefix
    self.node = node
  }

  /// Serves until a signal comes (false) or the node has ended (true).
  func serve(_ signals: Signals, socket: String) throws -> Bool {
    let directory = EntityID(
      kernel: node.kernel, discriminator: EntityID.directoryDiscriminator)
    let standIn = StandIn(node, prefix: Array(prefix.utf8), directory: directory) { [self] in
      Background.run { [self] in start(socket) }
    }
    defer {
      standIn.end()
      stop()
    }
    let refused = Mutex<ReplyCode?>(nil)
    let told: @Sendable (ReplyCode) -> Void = { [prefix, command] code in
      guard !code.isOK else {
        return say("v: serve: \(prefix) is ready: its first use starts \(command[0])", to: 2)
      }
      refused.withLock { $0 = code }
      Signals.wake()
    }
    standIn.serve(told: told)
    while signals.wait() {
      guard node.isAttached else { return true }
      if let code = refused.withLock({ $0 }) {
        throw Failure(
          status: .refused, description: "serve: \(prefix) is not served: \(code)")
      }
      if let status = reap() {
        say("v: serve: \(command[0]) \(status)", to: 2)
        standIn.serve(told: told)
      }
    }
    return false
  }

  private func start(_ socket: String) {
    // If it is slow to claim its prefix, no second one is started beside it.
    if state.withLock({ $0.pid != nil }) { return }
    let pause = state.withLock { state -> Int64 in
      guard let beganAt = state.beganAt, state.quickEnds > 0 else { return 0 }
      let wait = min(Self.pauseMax, 1 << min(state.quickEnds - 1, 6))
      return max(0, wait - (node.now - beganAt).nanoseconds / 1_000_000_000)
    }
    sleep(UInt32(pause))
    var environment = Own.environment.map { String(decoding: $0, as: UTF8.self) }
    environment.removeAll { $0.hasPrefix("V_PREFIX=") || $0.hasPrefix("V_SOCKET=") }
    environment += ["V_PREFIX=\(prefix)", "V_SOCKET=\(socket)"]
    var pid: pid_t = 0
    let error = Self.spawn(command, environment, &pid)
    let isOver = state.withLock { state in
      state.beganAt = node.now
      state.pid = error == 0 ? pid : nil
      state.failure = error == 0 ? nil : "did not start: \(String(cString: strerror(error)))"
      return state.isOver
    }
    guard error == 0 else { return Signals.wake() }
    if isOver { kill(pid, SIGTERM) }
    // The thread that waits for it notes its end, and wakes the first thread.
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
    Signals.wake()
  }

  /// How the program ended.
  private func reap() -> String? {
    state.withLock { state in
      if let failure = state.failure.take() {
        state.quickEnds += 1
        return failure
      }
      guard let pid = state.pid else { return nil }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      state.pid = nil
      let lived = state.beganAt.map { node.now - $0 } ?? .seconds(0)
      state.quickEnds = lived < Self.quickEnd ? state.quickEnds + 1 : 0
      let signal = status & 0x7F
      return signal == 0
        ? "exited \(status >> 8 & 0xFF)" : "was killed by \(Signal.name(of: signal))"
    }
  }

  private func stop() {
    let pid = state.withLock { state in
      state.isOver = true
      return state.pid
    }
    guard let pid else { return }
    kill(pid, SIGTERM)
    for _ in 0..<Self.endTries where reap() == nil { usleep(100_000) }
    if state.withLock({ $0.pid != nil }) { kill(pid, SIGKILL) }
  }

  private static func spawn(
    _ command: [String], _ environment: [String], _ pid: inout pid_t
  ) -> Int32 {
    var arguments = command.map { strdup($0) } + [nil]
    var variables = environment.map { strdup($0) } + [nil]
    defer { for text in arguments + variables { free(text) } }
    // The program gets back the signals that this process waits for.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var defaults = sigset_t()
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    return posix_spawnp(&pid, command[0], nil, &attributes, &arguments, &variables)
  }
}
