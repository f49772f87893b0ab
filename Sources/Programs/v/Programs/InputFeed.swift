import Glibc
import VClient
import VCommand
import VProtocol

/// Copies standard input to a program, up to its end.
final class InputFeed: Sendable {
  private let program: RemoteProgram
  private let hasTerminal: Bool

  init(_ program: RemoteProgram, hasTerminal: Bool) {
    self.program = program
    self.hasTerminal = hasTerminal
  }

  /// The key that ends the input of a terminal.
  private static let endKey: UInt8 = 4

  func run() {
    let input = program.conversation.input()
    while let octets = Self.next() {
      do throws(Refusal) {
        try Answered.done { input.write(octets, $0) }
      } catch {
        // The writer to this process gets an error, as from a local reader that has ended.
        if error.code == .brokenPipe { close(0) }
        return
      }
    }
    if hasTerminal {
      try? Answered.done { input.write([Self.endKey], $0) }
    } else {
      try? Answered.done { input.end($0) }
    }
  }

  /// The octets that are there, at least one; nil at the end.
  static func next() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: Message.segmentBytesMax)
    while true {
      // Keys are for the job in the foreground.
      Terminal.waitForForeground()
      let count = read(0, &buffer, buffer.count)
      if count > 0 { return Array(buffer[..<count]) }
      if count < 0 && errno == EAGAIN {
        var entry = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        poll(&entry, 1, -1)
        continue
      }
      // A job that was sent to the background meanwhile reads nothing from a terminal.
      let isEarly = errno == EINTR || errno == EIO && isatty(0) == 1 && !Terminal.isForeground
      guard count < 0 && isEarly else { return nil }
    }
  }
}
