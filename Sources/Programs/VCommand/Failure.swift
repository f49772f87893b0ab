import Glibc

/// Why a command did not do what it was told: one sentence and the exit status.
package struct Failure: Error, CustomStringConvertible {
  package enum Status: Int32 {
    case refused = 1
    case usage = 2
    case noNode = 3
    case timeLimit = 4
    /// Of a verb that else ends as a program does; 126 and 127 as a shell has them.
    case programLost = 125
    case programNotExecutable = 126
    case noProgram = 127
  }

  package var status: Status
  package var description: String
  /// What to do about it.
  package var remedy: String?

  package init(status: Status, description: String, remedy: String? = nil) {
    self.status = status
    self.description = description
    self.remedy = remedy
  }

  /// Says it, and what to do about it, on standard error.
  package func tell() {
    say("v: \(description)", to: 2)
    if let remedy { say("v: \(remedy)", to: 2) }
  }

  package static var nodeLost: Failure {
    Failure(status: .noNode, description: "this host's node ended")
  }
}

/// What Linux says of an error number.
package func errorText(_ error: Int32) -> String { String(cString: strerror(error)) }

/// Writes whole lines: results to standard output (1), everything else to standard error (2), for
/// people, without what a terminal would take for a command.
package func say(_ text: String, to descriptor: Int32 = 1) {
  let text = descriptor == 2 ? Text.harmless(text) : text
  var octets = Array((text.hasSuffix("\n") ? text : text + "\n").utf8)[...]
  while !octets.isEmpty {
    let count = octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return }
    octets = octets.dropFirst(count)
  }
}
