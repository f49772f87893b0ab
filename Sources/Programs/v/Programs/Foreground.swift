import Glibc
import VAttach
import VClient
import VCommand
import VProtocol
import VRuntime

/// A program elsewhere in the foreground of this process: its streams, signals and exit status
/// become this process's.
enum Foreground {
  static func run(
    _ request: RunRequest, _ host: String, _ session: Session, _ signals: SignalRelay,
    _ limit: TimeSpan
  ) throws {
    let isOnTerminal = request.terminal != nil
    let terminal = isOnTerminal ? Terminal() : nil
    let program = try RemoteProgram.start(
      request, on: host, session, limit: limit, told: { tell($0, of: host, terminal) })
    let job = Job(program, terminal)
    signals.relay(to: job)
    terminal?.makeRaw()
    if isOnTerminal { job.watchStops() }
    let feed = InputFeed(program, hasTerminal: isOnTerminal)
    Background.run { feed.run() }
    if request.directory != nil { program.tellDirectory(wanted: Own.directory) }
    do throws(Failure) {
      let end = try program.attend(terminal)
      program.release()
      // So that a shell ends its loop, as it does after a program of its own.
      if end == .killed("INT") { SignalRelay.end(by: SIGINT, terminal) }
      Terminal.leave(end.status, terminal)
    } catch {
      terminal?.restore()
      throw error
    }
  }

  /// Reports it on standard error; while the host is silent, keys are for this process.
  static func tell(_ notice: OutageNotice, of host: String, _ terminal: Terminal? = nil) {
    switch notice {
    case .silent:
      terminal?.restore()
      say("v: \(host) is silent; waiting", to: 2)
    case .back:
      say("v: \(host) is back", to: 2)
      terminal?.makeRaw()
    }
  }
}
