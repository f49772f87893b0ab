import Glibc

/// The environment of this process, for a program elsewhere.
enum Own {
  /// As they were given, text or not.
  static var arguments: [[UInt8]] {
    (0..<Int(CommandLine.argc)).map { octets(of: CommandLine.unsafeArgv[$0]) }
  }

  static var environment: [[UInt8]] {
    var variables: [[UInt8]] = []
    var next = environ
    while let variable = next.pointee {
      variables.append(octets(of: variable))
      next += 1
    }
    return variables
  }

  /// Reading it changes it for a moment, in which no thread of this process makes a file.
  static var umask: UInt32 {
    let mask = Glibc.umask(0o077)
    _ = Glibc.umask(mask)
    return mask
  }

  /// Nil if it was removed.
  static var directory: [UInt8]? {
    guard let path = getcwd(nil, 0) else { return nil }
    defer { free(path) }
    return octets(of: path)
  }

  private static func octets(of text: UnsafeMutablePointer<CChar>?) -> [UInt8] {
    guard let text else { return [] }
    return UnsafeRawBufferPointer(start: text, count: strlen(text)).map { $0 }
  }

  /// Writes everything; if the reader has gone, this process ends as any other does.
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
        let why = Prober.reason(errno)
        terminal?.restore()
        say("v: run: standard \(descriptor == 1 ? "output" : "error"): \(why)", to: 2)
        Glibc.exit(Failure.Status.programLost.rawValue)
      }
    }
  }
}
