import Glibc
import VCommand

extension Own {
  /// Writes everything; where nobody reads any more, this process ends as any other does.
  static func write(_ octets: [UInt8], to descriptor: Int32, _ terminal: Terminal?) {
    var rest = octets[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&entry, 1, -1)
      } else if errno == EPIPE {
        SignalRelay.end(by: SIGPIPE, terminal)
      } else if errno != EINTR {
        let why = errorText(errno)
        terminal?.restore()
        say("v: run: standard \(descriptor == 1 ? "output" : "error"): \(why)", to: 2)
        Glibc.exit(Failure.Status.programLost.rawValue)
      }
    }
  }
}
