import Foundation
import Glibc

/// The output of a program, and how it ended.
struct Outcome: Sendable {
  /// The exit status, 128 + N for signal N, or nil if the program still ran at its limit.
  var status: Int32?
  var output: String
  var errors: String
  var seconds: Double

  var isSuccess: Bool { status == 0 }

  /// For the reader of a failed test.
  var summary: String {
    let end = status.map { "status \($0)" } ?? "stopped at its limit"
    return "\(end) after \(String(format: "%.1f", seconds)) s\n\(Self.tail(errors + output))"
  }

  /// The last lines of a text, which have the reason.
  static func tail(_ text: String, lines: Int = 15) -> String {
    text.split(separator: "\n").suffix(lines).joined(separator: "\n")
  }
}

/// A program of this machine, in a process group of its own.
enum Program {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  static func spawn(_ arguments: [String], input: Int32, output: Int32, errors: Int32) throws
    -> pid_t
  {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (target, source) in [input, output, errors].enumerated() {
      posix_spawn_file_actions_adddup2(&actions, source, Int32(target))
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, arguments[0], &actions, &attributes, &words, environ)
    guard code == 0 else {
      throw Failure(description: "\(arguments[0]): \(String(cString: strerror(code)))")
    }
    return pid
  }

  /// Runs a program to its end or its limit; then its process group is killed.
  static func run(_ arguments: [String], limit: Duration) async throws -> Outcome {
    let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
    let output = try temporaryFile()
    let errors = try temporaryFile()
    defer { for file in [nothing, output, errors] { close(file) } }
    let began = ContinuousClock.now
    let pid = try spawn(arguments, input: nothing, output: output, errors: errors)
    // Uncancelled: a command is stopped by its own limit only.
    var status = await withCheckedContinuation { ended in
      Thread.detachNewThread { ended.resume(returning: end(of: pid, by: began + limit)) }
    }
    if status == nil {
      kill(-pid, SIGKILL)
      // A process that is stuck in the kernel does not even die, and is not waited for.
      _ = end(of: pid, by: .now + .seconds(3))
    } else if let code = status, code & 0x7f != 0 {
      status = 128 + code & 0x7f
    } else {
      status = status.map { $0 >> 8 & 0xff }
    }
    return Outcome(
      status: status, output: contents(of: output), errors: contents(of: errors),
      seconds: (ContinuousClock.now - began) / .seconds(1))
  }

  /// Waits until a child has ended; its wait status, nil if it has not.
  static func end(of pid: pid_t, by deadline: ContinuousClock.Instant) -> Int32? {
    // Readable once the process has ended.
    var process = pollfd(fd: processDescriptor(pid, 0), events: Int16(POLLIN), revents: 0)
    defer { close(process.fd) }
    let left = (deadline - .now) / .milliseconds(1)
    poll(&process, 1, Int32(max(0, left.rounded(.up))))
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == pid ? status : nil
  }

  /// pidfd_open(2), which Swift's Glibc leaves out.
  private static let processDescriptor = unsafeBitCast(
    dlsym(nil, "pidfd_open"), to: (@convention(c) (pid_t, UInt32) -> Int32).self)

  /// A file without a name: unlike with a pipe, its reader need not wait for the last writer.
  private static func temporaryFile() throws -> Int32 {
    var path = Array((NSTemporaryDirectory() + "v-lab-XXXXXX").utf8CString)
    let file = mkstemp(&path)
    guard file >= 0 else { throw Failure(description: "no temporary file") }
    unlink(path)
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    return file
  }

  private static func contents(of file: Int32) -> String {
    lseek(file, 0, SEEK_SET)
    let handle = FileHandle(fileDescriptor: file, closeOnDealloc: false)
    let data = (try? handle.readToEnd()) ?? Data()
    return String(decoding: data, as: UTF8.self)
  }
}
