import Glibc
import Synchronization
import VCommand

/// Gets the signals of this process instead of their default action.
protocol SignalTaker: Sendable {
  func take(_ signal: Int32)
}

/// The signals that a program elsewhere gets when this process does.
///
/// It must be made before there are other threads. Until there is a taker, the signals end this
/// process as they end any other.
final class SignalRelay: Sendable {
  private let set: sigset_t
  private let taker = Mutex<(any SignalTaker)?>(nil)

  private static let signals = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT,
  ]

  init() {
    var set = sigset_t()
    sigemptyset(&set)
    for number in Self.signals where !Self.isIgnored(number) { sigaddset(&set, number) }
    self.set = set
    // A job in the background that reads its terminal must wait, not stop; after a broken pipe the
    // terminal is restored before the process ends.
    for number in [SIGTTIN, SIGTTOU, SIGPIPE] { sigaddset(&set, number) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// As nohup(1) sets it, and shells for background jobs of a script.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return action.__sigaction_handler.sa_handler.map {
      unsafeBitCast($0, to: Int.self) == 1
    } ?? false
  }

  func relay(to taker: any SignalTaker) { self.taker.withLock { $0 = taker } }

  /// Starts the thread that takes them.
  func start() {
    Background.run { [self] in
      var set = set
      while true {
        let number = sigwaitinfo(&set, nil)
        guard number > 0 else { continue }
        if let taker = taker.withLock({ $0 }) {
          taker.take(number)
        } else if number != SIGWINCH && number != SIGCONT {
          Self.obey(number)
        }
      }
    }
  }

  /// Does the signal's default action; after one that stops, returns when the process is resumed.
  static func obey(_ number: Int32, wholeJob: Bool = false) {
    var one = sigset_t()
    sigemptyset(&one)
    sigaddset(&one, number)
    pthread_sigmask(SIG_UNBLOCK, &one, nil)
    if wholeJob { kill(0, number) } else { raise(number) }
    pthread_sigmask(SIG_BLOCK, &one, nil)
  }

  /// Ends this process by a signal; if that is ignored, with its exit status.
  static func end(by number: Int32, _ terminal: Terminal?) -> Never {
    terminal?.restore()
    obey(number)
    Glibc.exit(128 + number)
  }
}
