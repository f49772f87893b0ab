import CVLinux
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
    var starts = ServerStarts()
    var isOver = false
  }

  private let command: [String]
  private let prefix: String
  private let node: AttachedBackplane
  private let state = Mutex(State())

  /// Looks, 20 ms apart, by which it has to have ended at SIGTERM.
  private static let endTries = 250

  /// The program gets the prefix as `V_PREFIX`, and the node's socket as `V_SOCKET`.
  init(_ command: [String], prefix: String, _ node: AttachedBackplane) {
    self.command = command
    self.prefix = prefix
    self.node = node
  }

  /// Serves until a signal comes (false) or the node has ended (true).
  func serve(_ signals: Signals, socket: String) throws -> Bool {
    let directory = NameSpace(of: node.kernel).directory
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
    // One that is slow to claim its prefix, or still waits, is not started beside itself.
    guard let pause = state.withLock({ $0.starts.prepare(at: node.now) }) else { return }
    usleep(UInt32(pause.nanoseconds / 1000))
    var environment = Own.environment.map { String(decoding: $0, as: UTF8.self) }
    environment.removeAll { $0.hasPrefix("V_PREFIX=") || $0.hasPrefix("V_SOCKET=") }
    environment += ["V_PREFIX=\(prefix)", "V_SOCKET=\(socket)"]
    if state.withLock({ $0.isOver }) { return }
    let result = Self.spawn(command, environment)
    let isOver = state.withLock { state in
      state.starts.begin(at: node.now)
      state.pid = result > 0 ? result : nil
      state.failure = result > 0 ? nil : "did not start: \(String(cString: strerror(-result)))"
      return state.isOver
    }
    guard result > 0 else { return Signals.wake() }
    if isOver { kill(result, SIGTERM) }
    // Its end is noted by the thread that waits for it, which then wakes the first one.
    var info = siginfo_t()
    while waitid(P_PID, id_t(result), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
    Signals.wake()
  }

  /// How the program ended.
  private func reap() -> String? {
    state.withLock { state in
      if let failure = state.failure.take() {
        state.starts.end(at: node.now)
        return failure
      }
      guard let pid = state.pid else { return nil }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      state.pid = nil
      state.starts.end(at: node.now)
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
    for _ in 0..<Self.endTries {
      if reap() != nil { return }
      usleep(20_000)
    }
    kill(pid, SIGKILL)
  }

  /// Its pid, or an error number, negative; it does not outlive the thread that calls, which waits
  /// for it.
  private static func spawn(_ command: [String], _ environment: [String]) -> Int32 {
    var arguments = command.map { strdup($0) } + [nil]
    var variables = environment.map { strdup($0) } + [nil]
    defer { for text in arguments + variables { free(text) } }
    return v_child_start(&arguments, &variables)
  }
}
