import Glibc
import Logging
import Synchronization

/// The log of the node; no other file uses swift-log.
let log = NodeLog()

struct NodeLog: Sendable {
  private let logger = Logger(label: "vnode")

  func info(_ text: String) { logger.info("\(text)") }
  func warning(_ text: String) { logger.warning("\(text)") }
  func error(_ text: String) { logger.error("\(text)") }
}

/// The levels that the configuration knows.
enum LogLevel: String, CaseIterable {
  case error, warning, info, debug

  var loggerLevel: Logger.Level {
    switch self {
    case .error: .error
    case .warning: .warning
    case .info: .info
    case .debug: .debug
    }
  }
}

/// The destination of the log: the journal if it reads standard error, a file of limited size, or a
/// terminal or other reader of standard error.
///
/// Everything is written to standard error, so that the messages of the language's runtime about a
/// crash go the same way.
final class LogOutput: Sendable {
  private enum Form: Sendable {
    case plain, journal
    case file(path: String)
  }

  private struct State: Sendable {
    var form = Form.plain
    var level = Logger.Level.info
  }

  static let shared = LogOutput()
  private let state = Mutex(State())

  /// The size at which a file is renamed to FILE.1, and a new one is begun.
  private static let fileBytesMax = 4 << 20

  private init() {}

  /// Takes over the program's log; to a file, if there is a path.
  func start(path: String?) throws {
    if let path {
      try open(path)
      state.withLock { $0.form = .file(path: path) }
    } else if Self.isJournal {
      state.withLock { $0.form = .journal }
    }
    LoggingSystem.bootstrap { _ in LogHandler() }
  }

  var level: Logger.Level {
    get { state.withLock { $0.level } }
    set { state.withLock { $0.level = newValue } }
  }

  /// Writes one line, whatever the text contains: it may contain names that others chose.
  func write(_ level: Logger.Level, _ text: String) {
    let scalars = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 }
    let text = String(String.UnicodeScalarView(scalars))
    state.withLock { state in
      switch state.form {
      case .plain: put("vnode: \(text)\n")
      case .journal: put("<\(Self.priority(level))>\(text)\n")
      case .file(let path):
        rotate(path)
        put("\(Self.timeStamp()) \(level): \(text)\n")
      }
    }
  }

  private func put(_ line: String) { _ = line.withCString { Glibc.write(2, $0, strlen($0)) } }

  private func rotate(_ path: String) {
    var status = stat()
    guard fstat(2, &status) == 0, status.st_size > Self.fileBytesMax,
      rename(path, path + ".1") == 0
    else { return }
    try? open(path)
  }

  /// Makes a file standard output and standard error.
  private func open(_ path: String) throws {
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
    guard descriptor >= 0 else {
      throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    guard dup2(descriptor, 1) == 1, dup2(descriptor, 2) == 2 else {
      throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
    }
  }

  /// systemd identifies the socket that it gave as standard error, by device and inode.
  private static var isJournal: Bool {
    guard let stream = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    return fstat(2, &status) == 0
      && String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
  }

  /// The numbers of syslog(3).
  private static func priority(_ level: Logger.Level) -> Int {
    switch level {
    case .critical: 2
    case .error: 3
    case .warning: 4
    case .notice: 5
    case .info: 6
    case .debug, .trace: 7
    }
  }

  private static func timeStamp() -> String {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// The handler that gets lines from swift-log.
private struct LogHandler: Logging.LogHandler {
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// One for all: it can be changed while the node runs.
  var logLevel: Logger.Level {
    get { LogOutput.shared.level }
    set { LogOutput.shared.level = newValue }
  }

  func log(event: LogEvent) { LogOutput.shared.write(event.level, "\(event.message)") }
}
