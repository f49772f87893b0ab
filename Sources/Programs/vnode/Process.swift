import Glibc

/// Blocks SIGTERM, SIGINT and SIGHUP in every thread, and SIGPIPE for good.
func blockSignals() -> sigset_t {
  signal(SIGPIPE, SIG_IGN)
  var set = sigset_t()
  sigemptyset(&set)
  sigaddset(&set, SIGTERM)
  sigaddset(&set, SIGINT)
  sigaddset(&set, SIGHUP)
  pthread_sigmask(SIG_BLOCK, &set, nil)
  return set
}

func waitForSignal(_ set: sigset_t) -> Int32 {
  var set = set
  var number: Int32 = 0
  while sigwait(&set, &number) != 0 {}
  return number
}

/// Objects and instances cost a descriptor each.
func raiseDescriptorLimit() {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Notifies systemd, if it is the parent: one datagram to the socket that it names.
func notifySupervisor(_ state: String) {
  guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }), path.utf8.count < 108
  else { return }
  let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  guard descriptor >= 0 else { return }
  defer { close(descriptor) }
  var name = sockaddr_un()
  name.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
  // An abstract socket's name starts with a zero octet, written as @.
  if path.hasPrefix("@") { name.sun_path.0 = 0 }
  let size = socklen_t(MemoryLayout<sa_family_t>.size + path.utf8.count)
  _ = withUnsafePointer(to: &name) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
  }
  _ = state.withCString { write(descriptor, $0, strlen($0)) }
}
