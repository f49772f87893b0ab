import Foundation
import Glibc

/// A bash in a host that gets one script after the other, in the same process.
final class Shell {
  private let host: String
  private let pid: pid_t
  private let socket: Int32
  private var scriptCount = 0
  private var received: [UInt8] = []

  init(_ host: String, _ invocation: [String]) throws {
    self.host = host
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0
    else { throw Program.Failure(description: "no socket pair") }
    defer { close(ends[1]) }
    pid = try Program.spawn(invocation, input: ends[1], output: ends[1], errors: ends[1])
    socket = ends[0]
  }

  deinit {
    close(socket)
    kill(-pid, SIGKILL)
    _ = Program.end(of: pid, by: .now + .seconds(3))
  }

  /// Runs a script to its end.
  ///
  /// It keeps the state of earlier ones: directory, variables, descriptors.
  func run(_ script: String, limit: Duration = .seconds(10)) throws -> (status: Int, output: String)
  {
    scriptCount += 1
    let mark = "--end \(scriptCount) of the script--"
    try send("{ \(script)\n} </dev/null 2>&1; printf '%s %d\\n' '\(mark)' $?\n")
    let deadline = ContinuousClock.now + limit
    while true {
      if let found = takeAnswer(endingWith: Array(mark.utf8)) { return found }
      let left = (deadline - ContinuousClock.now) / .milliseconds(1)
      var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      guard left > 0, poll(&entry, 1, Int32(left.rounded(.up))) == 1 else {
        throw Program.Failure(description: "\(host) is stuck in: \(script)")
      }
      var buffer = [UInt8](repeating: 0, count: 65_536)
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else {
        throw Program.Failure(description: "the shell of \(host) ended in: \(script)")
      }
      received += buffer[..<count]
    }
  }

  private func send(_ text: String) throws {
    var rest = ArraySlice(text.utf8)
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else {
        throw Program.Failure(description: "the shell of \(host) is gone")
      }
      rest = rest.dropFirst(count)
    }
  }

  /// The output up to the mark and the status behind it, when all that has come.
  private func takeAnswer(endingWith mark: [UInt8]) -> (status: Int, output: String)? {
    guard received.last == UInt8(ascii: "\n"),
      let start = received.indices.last(where: { received[$0...].starts(with: mark) }),
      let status = Int(
        String(decoding: received[(start + mark.count)...], as: UTF8.self)
          .trimmingCharacters(in: .whitespacesAndNewlines))
    else { return nil }
    defer { received = [] }
    return (status, String(decoding: received[..<start], as: UTF8.self))
  }
}
