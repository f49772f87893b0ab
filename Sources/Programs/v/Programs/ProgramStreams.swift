import Glibc
import Synchronization
import VClient
import VCommand
import VProtocol
import VRuntime

extension RemoteProgram {
  /// Copies its output to this process's own until it has ended; with a terminal there is one
  /// stream.
  func attend(_ terminal: Terminal?) throws(Failure) -> RunExit {
    var err: (@Sendable ([UInt8]) -> Void)?
    if terminal == nil { err = { Own.write($0, to: 2, nil) } }
    return try attend(out: { Own.write($0, to: 1, terminal) }, err: err)
  }

  /// Says on standard error if the program does not run where this process does.
  func tellDirectory(wanted: [UInt8]?) {
    guard let status = try? status() else { return }
    var notice = status.notice(host: host)
    // It has a directory that is the same one, by another path.
    if let wanted, notice == nil, let directory = status["directory"],
      directory != String(decoding: wanted, as: UTF8.self)
    {
      notice = "running in \(directory)"
    }
    guard let notice else { return }
    // A raw terminal has to be told to go back.
    say(isatty(2) == 1 ? "\rv: \(notice)\r" : "v: \(notice)", to: 2)
  }
}

/// Lines of output with the host's name before each; a write has whole lines.
final class PrefixedOutput: Sendable {
  private let prefixer: Mutex<LinePrefixer>
  private let descriptor: Int32

  init(_ host: String, _ descriptor: Int32) {
    prefixer = Mutex(LinePrefixer("\(host): "))
    self.descriptor = descriptor
  }

  func write(_ octets: [UInt8]) { emit(prefixer.withLock { $0.take(octets) }) }
  func finish() { emit(prefixer.withLock { $0.finish() }) }

  private func emit(_ octets: [UInt8]) {
    if !octets.isEmpty { Own.write(octets, to: descriptor, nil) }
  }
}
