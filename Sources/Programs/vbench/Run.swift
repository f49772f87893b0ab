import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v bench run`: the cost of starting a program elsewhere, and the cost of a guest for its host.
struct BenchRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Times starts and ends of programs, choices of a host, and work beside a guest.",
    discussion: """
      Example: v bench run moa

      start is until the program runs, run until its end is known; spawn is posix_spawn and \
      waitpid without V. suspend, resume and destroy are one message each, destroy until the end \
      is known. choice is the answer to --any, spread how many of ten choices in a second \
      each host got. beside guest is hackbench (or perf bench sched messaging) of this process \
      while guests take every processor of this host, as a ratio to itself alone, round by round.
      """)

  @Option(name: .shortAndLong, help: "How many starts of each kind.")
  var count = 50

  @Option(help: "Rounds of work beside a guest; 0 leaves it out.")
  var rounds = 5

  @OptionGroup var options: CommonOptions

  @Argument(help: ArgumentHelp("The other host.", valueName: "host"), completion: .host)
  var target: String

  func validate() throws {
    guard 1...10_000 ~= count, 0...1000 ~= rounds else {
      throw ValidationError("--count takes 1 to 10,000, --rounds 0 to 1,000.")
    }
    try validateHost(target)
  }

  /// A median and what it is to be seen beside.
  struct Row: Encodable {
    var name: String
    var value: Double
    var unit: String
    var control: Double?
    var note = ""

    private enum CodingKeys: String, CodingKey {
      case name = "what"
      case unit
      case value = "p50"
      case control, note
    }

    var cells: [String] {
      [
        name, Text.decimal(value, 3), unit,
        control.map { Text.decimal(value / $0, 2) } ?? "-", note,
      ]
    }
  }

  func run() throws {
    let session = Session(try options.attach())
    defer { session.node.close() }
    var rows = try starts(session)
    rows += try controls(session)
    rows.append(try choices(session))
    rows.append(try spread(session))
    if rounds > 0 { rows += try besideGuest(session) }
    guard !options.json else {
      return options.sayRows(rows, bench: "run", on: session.node.host, target, count)
    }
    say(
      Text.table([["WHAT", "P50", "UNIT", "RATIO", "NOTE"]] + rows.map(\.cells))
        .joined(separator: "\n"))
  }

  // MARK: starts

  private func starts(_ session: Session) throws -> [Row] {
    let hosts = [session.node.host, target == "self" ? session.node.host : target]
    var starts = [Samples(), Samples()]
    var runs = [Samples(), Samples()]
    var spawns = Samples()
    for _ in 0..<count {
      let start = session.node.now
      _ = Command.run(["true"])
      spawns.add(session.node.now - start)
      for (index, host) in hosts.enumerated() {
        let begin = session.node.now
        let program = try self.start(["true"], on: host, session)
        starts[index].add(session.node.now - begin)
        _ = try program.attend(out: { _ in }, err: { _ in })
        runs[index].add(session.node.now - begin)
        program.release()
      }
    }
    let milliseconds = { (samples: Samples) in samples.median / 1000 }
    let spawn = milliseconds(spawns)
    return [
      Row(name: "spawn \(hosts[0])", value: spawn, unit: "ms"),
      Row(
        name: "start \(hosts[0])", value: milliseconds(starts[0]), unit: "ms", control: spawn,
        note: "to spawn"),
      Row(
        name: "start \(hosts[1])", value: milliseconds(starts[1]), unit: "ms",
        control: milliseconds(starts[0]), note: "to start at home"),
      Row(
        name: "run \(hosts[0])", value: milliseconds(runs[0]), unit: "ms", control: spawn,
        note: "to spawn"),
      Row(
        name: "run \(hosts[1])", value: milliseconds(runs[1]), unit: "ms",
        control: milliseconds(runs[0]), note: "to run at home"),
    ]
  }

  func start(
    _ words: [String], on host: String, _ session: Session, class name: String = "foreground"
  ) throws(Failure) -> RemoteProgram {
    var request = RunRequest(words.map { Array($0.utf8) })
    request.environment = Own.environment.filter(CarriedEnvironment.carries)
    request.programClass = name
    request.isAttached = true
    return try RemoteProgram.start(
      request, on: host, session, limit: .milliseconds(options.timeoutMilliseconds))
  }

  // MARK: choices

  private func choices(_ session: Session) throws -> Row {
    var samples = Samples()
    for _ in 0..<count {
      let start = session.node.now
      _ = try TeamHosts.leastLoaded(for: "foreground", session)
      samples.add(session.node.now - start)
    }
    return Row(name: "choice", value: samples.median / 1000, unit: "ms")
  }

  private static let choiceCount = 10

  /// Programs that run as long as the choices last.
  private func spread(_ session: Session) throws -> Row {
    var programs: [RemoteProgram] = []
    defer {
      for program in programs { try? program.control("kill KILL") }
      for program in programs { program.release() }
    }
    let hosts = try TeamHosts.all(session)
    for _ in 0..<Self.choiceCount {
      let host = try TeamHosts.leastLoaded(for: "foreground", session)
      programs.append(try start(["sleep", "60"], on: host, session))
      usleep(100_000)
    }
    let counts = hosts.map { host in (host, programs.count { $0.host == host }) }
    return Row(
      name: "spread", value: Double(counts.map(\.1).max() ?? 0), unit: "most",
      control: Double(Self.choiceCount) / Double(max(1, hosts.count)),
      note: counts.map { "\($0.0) \($0.1)" }.joined(separator: ", "))
  }

  // MARK: beside a guest

  private static let works = [
    ["hackbench", "-g", "5", "-l", "200"],
    ["perf", "bench", "-f", "simple", "sched", "messaging", "-g", "5", "-l", "200"],
  ]

  private func besideGuest(_ session: Session) throws -> [Row] {
    guard let work = Self.works.first(where: { Command.run($0).status == 0 }) else {
      say("v: bench run: neither hackbench nor perf works here", to: 2)
      return []
    }
    var (alone, beside) = (Samples(), Samples())
    var ratios: [Double] = []
    for _ in 0..<rounds {
      let (first, second) = (time(work, session), try timeBesideGuests(work, session))
      alone.add(first)
      beside.add(second)
      ratios.append(Double(second.nanoseconds) / Double(first.nanoseconds))
    }
    let seconds = alone.median / 1e6
    return [
      Row(name: "\(work[0]) alone", value: seconds, unit: "s"),
      Row(
        name: "\(work[0]) beside guests", value: seconds * Samples.median(ratios), unit: "s",
        control: seconds, note: "median of the rounds' ratios"),
    ]
  }

  private func time(_ work: [String], _ session: Session) -> TimeSpan {
    let start = session.node.now
    _ = Command.run(work)
    return session.node.now - start
  }

  /// With a guest for each processor, which does nothing but turn.
  private func timeBesideGuests(_ work: [String], _ session: Session) throws -> TimeSpan {
    var guests: [RemoteProgram] = []
    defer {
      for guest in guests { try? guest.control("kill KILL") }
      for guest in guests { guest.release() }
    }
    for _ in 0..<max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) {
      guests.append(
        try start(
          ["sh", "-c", "while :; do :; done"], on: session.node.host, session, class: "guest"))
    }
    usleep(200_000)
    return time(work, session)
  }
}
