import Glibc
import VCommand

/// The signals that end a serving program, and one by which its threads wake the first.
///
/// It must be made before there are other threads: only the waiting thread takes these signals.
struct Signals {
  private let set: sigset_t

  init() {
    signal(SIGPIPE, SIG_IGN)
    var set = sigset_t()
    sigemptyset(&set)
    for number in [SIGTERM, SIGINT, SIGUSR1] { sigaddset(&set, number) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    self.set = set
  }

  /// Makes the waiting thread look for news.
  static func wake() { kill(getpid(), SIGUSR1) }

  /// Waits until there may be news, or the seconds have passed; false if the program must end.
  func wait(seconds: Int? = nil) -> Bool {
    var set = set
    while true {
      let number: Int32
      if let seconds {
        var limit = timespec(tv_sec: seconds, tv_nsec: 0)
        number = sigtimedwait(&set, nil, &limit)
        if number < 0 && errno == EAGAIN { return true }
      } else {
        number = sigwaitinfo(&set, nil)
      }
      if number > 0 { return number == SIGUSR1 }
    }
  }
}

/// Objects and instances cost a descriptor each.
func raiseDescriptorLimit() {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
