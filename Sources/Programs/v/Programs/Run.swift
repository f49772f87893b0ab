import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v run`: a program on a host of the cluster, as if it were here.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a program on another host, or on several, as if it ran here.",
    discussion: """
      Example: v run --host moa sort -u big.txt >sorted

      The program gets the arguments, the environment (without what tells of the account and the \
      session: HOME, USER, XDG_* and such), the current directory where the host has it, and \
      standard input, output and error. INT, TERM, HUP, QUIT, USR1, USR2 and the size of the \
      terminal go to it; ^Z suspends it. Where standard input and output are a terminal the \
      program has one too. It ends when v does, unless it is detached.

      A loop that reads its lines by while read needs </dev/null for v run, as for ssh.

      Exit status: the program's; 128 + N if signal N ended it; 127 no such program, \
      126 not executable, 125 anything else.
      """)

  @Option(
    name: .customLong("host"),
    help: ArgumentHelp("Run on this host (default: this one).", valueName: "host"))
  var hostsNamed: [String] = []

  @Flag(help: "Run on the least loaded host that accepts the program.")
  var any = false

  @Flag(help: "Run on every host; each line of output starts with its name.")
  var each = false

  @Option(
    name: .customLong("class"),
    help: "foreground, background or guest: its priority among programs.",
    completion: .list(["foreground", "background", "guest"]))
  var programClass = "foreground"

  @Flag(help: "Print the program's name and detach; v attach and v logs find it.")
  var detach = false

  @Flag(
    inversion: .prefixedNo,
    help: "Whether it has a terminal (default: if input and output are one).")
  var pty: Bool?

  @Option(help: ArgumentHelp("Make it a member of a group.", valueName: "group"))
  var group: String?

  @Option(
    help: ArgumentHelp(
      "Wait so long for a host that falls silent; the program goes on meanwhile.",
      valueName: "seconds"))
  var wait = 60

  @OptionGroup var options: NodeOptions

  @Argument(parsing: .captureForPassthrough, help: "The program and its arguments.")
  var command: [String]

  func validate() throws {
    guard let first = words.first else { throw ValidationError("Which program?") }
    // Everything from the first word on that is not an option of v belongs to the program.
    guard !first.hasPrefix("-") || command.first == "--" || asksForHelp else {
      throw ValidationError("Unknown option '\(first)'")
    }
    guard hostsNamed.count <= 1 else {
      throw ValidationError("One --host at a time; --each runs on all hosts.")
    }
    guard [!hostsNamed.isEmpty, any, each].count(where: { $0 }) <= 1 else {
      throw ValidationError("--host, --any and --each exclude each other.")
    }
    guard ["foreground", "background", "guest"].contains(programClass) else {
      throw ValidationError("--class takes foreground, background or guest.")
    }
    for host in hostsNamed { try validateHost(host) }
    guard 0...RunRequest.waitSecondsMax ~= wait else {
      throw ValidationError("--wait takes 0 to \(RunRequest.waitSecondsMax) seconds.")
    }
    guard !each || pty != true else {
      throw ValidationError("--each gives no terminal.")
    }
  }

  private var asksForHelp: Bool { ["-h", "--help"].contains(command.first) }

  /// Without the `--` that may precede them.
  private var words: ArraySlice<String> {
    command.first == "--" ? command.dropFirst() : command[...]
  }

  func run() throws {
    if asksForHelp { throw CleanExit.helpRequest(Self.self) }
    // Before there are threads: only one of them takes signals.
    let signals = SignalRelay()
    signals.start()
    let session = Session(try options.attach())
    let limit = TimeSpan.milliseconds(options.timeoutMilliseconds)
    if detach {
      for host in try hosts(session) {
        let program = try hinted {
          try RemoteProgram.start(
            request(on: host, session, onTerminal: pty == true), on: host, session, limit: limit)
        }
        if pty != true { program.endInput() }
        say("\(host)/\(program.name)")
      }
      return
    }
    guard each else {
      let isOnTerminal = pty ?? (isatty(0) == 1 && isatty(1) == 1)
      let host = try hosts(session)[0]
      return try hinted {
        try Foreground.run(
          request(on: host, session, onTerminal: isOnTerminal), host, session, signals, limit)
      }
    }
    try runEverywhere(try hosts(session), session, signals, limit)
  }

  private func hosts(_ session: Session) throws -> [String] {
    if each { return try TeamHosts.all(session) }
    if any { return [try TeamHosts.leastLoaded(for: programClass, session)] }
    return [hostsNamed.first.map { $0 == "self" ? session.node.host : $0 } ?? session.node.host]
  }

  /// A shell line as a single word is not a program: adds that hint.
  private func hinted<Value>(_ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch var failure as Failure {
      let word = words.first ?? ""
      if failure.status == .noProgram, words.count == 1, word.contains(where: Self.isOfShell) {
        failure.remedy = "a line for a shell is run by: v run ... sh -c '\(word)'"
      }
      throw failure
    }
  }

  private static func isOfShell(_ character: Character) -> Bool {
    " ;|&<>$`()*?\t\n".contains(character)
  }

  private func request(
    on host: String, _ session: Session, onTerminal: Bool
  ) -> RunRequest {
    var request = RunRequest(Own.arguments.suffix(words.count))
    request.environment = Own.environment.filter(CarriedEnvironment.carries)
    request.directory = Own.directory.map { ExportedDirectory.path($0, for: host, session) }
    request.umask = Own.umask
    request.programClass = programClass
    request.isAttached = !detach
    if !detach { request.waitSeconds = wait }
    request.group = group
    if onTerminal { request.terminal = Terminal.size }
    return request
  }

  // MARK: one on each host

  private func runEverywhere(
    _ hosts: [String], _ session: Session, _ signals: SignalRelay, _ limit: TimeSpan
  ) throws {
    let jobs = Jobs()
    signals.relay(to: jobs)
    var workers: [pthread_t] = []
    for host in hosts {
      workers.append(
        Background.start {
          let request = request(on: host, session, onTerminal: false)
          jobs.note(host, Self.runOne(request, host, session, jobs, limit))
        })
    }
    for worker in workers { pthread_join(worker, nil) }
    Glibc.exit(jobs.status(of: hosts))
  }

  /// The exit status of one of them, after all its output.
  private static func runOne(
    _ request: RunRequest, _ host: String, _ session: Session, _ jobs: Jobs,
    _ limit: TimeSpan
  ) -> Int32 {
    do throws(Failure) {
      let program = try RemoteProgram.start(
        request, on: host, session, limit: limit, told: { Foreground.tell($0, of: host) })
      jobs.add(Job(program, nil))
      program.endInput()
      program.tellDirectory(wanted: Own.directory)
      let out = PrefixedOutput(host, 1)
      let err = PrefixedOutput(host, 2)
      let end = try program.attend(out: { out.write($0) }, err: { err.write($0) })
      out.finish()
      err.finish()
      program.release()
      return end.status
    } catch {
      say("v: \(error)", to: 2)
      return error.status.rawValue
    }
  }
}
