import Glibc
import Synchronization
import VClient
import VCommand
import VProtocol

/// A program elsewhere as a job of this host's shell: signals are passed to it, and it stops and
/// resumes together with this process.
final class Job: SignalTaker {
  private let program: RemoteProgram
  private let terminal: Terminal?
  private let isProgramStopped = Atomic(false)

  private static let endings = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

  /// With a terminal, keys are for the program, and this process stops when it stops.
  init(_ program: RemoteProgram, _ terminal: Terminal?) {
    self.program = program
    self.terminal = terminal
  }

  func take(_ number: Int32) {
    switch number {
    case SIGTSTP:
      let isByProgram = isProgramStopped.exchange(false, ordering: .relaxed)
      if !isByProgram { suspend() }
      stop(wholeJob: isByProgram)
      if isByProgram { tell("kill CONT") } else { resume() }
    case SIGCONT: resumeTerminal()
    case SIGWINCH: tellSize()
    case _ where program.isSilent && Self.endings.contains(number):
      // The host does not hear it: this process stops waiting for the host.
      SignalRelay.end(by: number, terminal)
    default: tell("kill \(Signal.name(of: number))")
    }
  }

  func suspend() { tell("suspend") }
  func resume() { tell("resume") }

  /// Stops this process's job whenever the program stops, on the thread that takes signals: then no
  /// other thread can take the stop signal.
  func watchStops() {
    Background.run { [self] in
      let events = program.conversation.events()
      while let line = try? Answered.value({ events.next($0) }), !line.isEmpty {
        guard line.hasPrefix("stopped") else { continue }
        isProgramStopped.store(true, ordering: .relaxed)
        kill(getpid(), SIGTSTP)
      }
    }
  }

  private func stop(wholeJob: Bool) {
    terminal?.restore()
    SignalRelay.obey(SIGTSTP, wholeJob: wholeJob)
    resumeTerminal()
  }

  private func resumeTerminal() {
    guard let terminal else { return }
    Terminal.waitForForeground()
    terminal.makeRaw()
    tellSize()
  }

  private func tellSize() {
    if terminal != nil { tell("size \(Terminal.size.text)") }
  }

  /// If the program cannot be reached, it has ended, or its host is lost: the wait for it reports
  /// that.
  private func tell(_ line: String) { try? program.control(line) }
}

/// The jobs of `v run --each`.
final class Jobs: SignalTaker {
  private struct State: Sendable {
    var jobs: [Job] = []
    var statuses: [String: Int32] = [:]
  }

  private let state = Mutex(State())

  func add(_ job: Job) { state.withLock { $0.jobs.append(job) } }

  func note(_ host: String, _ status: Int32) { state.withLock { $0.statuses[host] = status } }

  /// The first that is not 0.
  func status(of hosts: [String]) -> Int32 {
    state.withLock { state in hosts.compactMap { state.statuses[$0] }.first { $0 != 0 } ?? 0 }
  }

  func take(_ number: Int32) {
    let jobs = state.withLock { $0.jobs }
    guard number == SIGTSTP else {
      for job in jobs { job.take(number) }
      return
    }
    for job in jobs { job.suspend() }
    SignalRelay.obey(number)
    for job in jobs { job.resume() }
  }
}
