import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VProtocol
import VRuntime

/// `v ps`: the programs of all hosts.
struct ProgramList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps",
    abstract: "Lists the programs that run on hosts of the cluster, as they were started there.",
    discussion: """
      Example: v ps moa

      A program that has ended is listed as long as something runs that it left behind; with \
      --all the others too. OWNER is who started it, USER as whom it runs.

      A host that does not answer is named on standard error and holds nobody up.
      """)

  @Flag(name: .shortAndLong, help: "Those that have ended, too.")
  var all = false

  @Flag(name: .shortAndLong, help: "What else the hosts run, too.")
  var processes = false

  @Option(
    name: .shortAndLong, help: ArgumentHelp("Only what runs as this user.", valueName: "name"))
  var user: String?

  @Flag(name: .shortAndLong, help: "Print the names of the programs only.")
  var quiet = false

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("Hosts; all if none is given.", valueName: "host"), completion: .host)
  var hosts: [String] = []

  /// Silence of a host that nobody has noticed yet is noticed after two seconds.
  private static let limit = TimeSpan.milliseconds(1500)

  func validate() throws {
    for host in hosts { try validateHost(host) }
  }

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    let hosts =
      hosts.isEmpty
      ? try TeamHosts.all(node) : hosts.map { $0 == "self" ? node.host : $0 }
    let limit = min(Self.limit, .milliseconds(options.timeoutMilliseconds))
    let found = Mutex<[String: Result<[ProgramRow], Refused>]>([:])
    var workers: [pthread_t] = []
    for host in hosts {
      workers.append(
        Background.start {
          let rows = rows(of: host, node, limit)
          found.withLock { $0[host] = rows }
        })
    }
    for worker in workers { pthread_join(worker, nil) }
    let results = found.withLock { $0 }
    let answers = hosts.compactMap { try? results[$0]?.get() }
    if !answers.isEmpty { show(answers.flatMap { $0 }) }
    let silent = hosts.compactMap { host -> String? in
      guard case .failure(let refused) = results[host] else { return nil }
      return "\(host): \(Self.reason(refused, limit))"
    }
    for line in silent.dropLast() { say("v: ps: \(line)", to: 2) }
    if let last = silent.last { throw Failure(status: .refused, description: "ps: \(last)") }
  }

  private static func reason(_ refused: Refused, _ limit: TimeSpan) -> String {
    switch refused.code {
    case .userTimeout: "no answer within \(limit.nanoseconds / 1_000_000) ms"
    case .notFound: "no such host"
    default: "\(refused)"
    }
  }

  private func rows(
    of host: String, _ node: AttachedBackplane, _ limit: TimeSpan
  ) -> Result<[ProgramRow], Refused> {
    do throws(Refused) {
      let entries = try Listing.entries(of: host, node, limit: limit)
      return .success(
        entries.filter { processes || $0.isProgram }.compactMap { row(of: $0, on: host, node) }
          .filter { (all || $0.isRunning) && (user == nil || $0.user == user) })
    } catch {
      return .failure(error)
    }
  }

  /// Nil for one that has gone meanwhile.
  private func row(
    of entry: Listing.Entry, on host: String, _ node: AttachedBackplane
  ) -> ProgramRow? {
    if quiet && all && user == nil { return ProgramRow(host, entry.name) }
    let program = RemoteProgram(entry.name, on: host, node)
    guard let status = try? program.text("status"), let words = try? program.text("cmdline")
    else { return nil }
    return entry.isProgram
      ? ProgramRow(host, entry.name, program: ProgramStatus(status), words)
      : ProgramRow(host, entry.name, process: status, words)
  }

  private func show(_ rows: [ProgramRow]) {
    if options.json {
      for row in rows { say(row.json.text) }
    } else if quiet {
      for row in rows { say(row.name) }
    } else {
      say(Text.table([ProgramRow.heading] + rows.map(\.cells)).joined(separator: "\n"))
    }
  }
}

/// One line of `v ps`.
struct ProgramRow: Sendable {
  /// `moa/12.sort`.
  var name: String
  var owner = "-"
  var user = "-"
  var isRunning = true
  var programClass = "-"
  var state = "-"
  var processorMilliseconds: Int?
  var memoryKilobytes: Int?
  /// Seconds since 1970, with a fraction.
  var started: String?
  var command = ""

  static let heading = [
    "PROGRAM", "OWNER", "USER", "CLASS", "STATE", "CPU", "MEM", "STARTED", "COMMAND",
  ]

  init(_ host: String, _ name: String) { self.name = "\(host)/\(name)" }

  init(_ host: String, _ name: String, program status: ProgramStatus, _ words: String) {
    self.init(host, name)
    owner = status["owner"] ?? "-"
    programClass = status["class"] ?? "-"
    user = status["user"] ?? "-"
    state = status["state"] ?? "-"
    let left = status["processes"].flatMap { Int($0) } ?? 0
    if RunExit(state) != nil {
      isRunning = left > 0
      if left > 0 { state += ", \(left) left" }
    }
    processorMilliseconds = status["cpu_ms"].flatMap { Int($0) }
    memoryKilobytes = status["memory_kb"].flatMap { Int($0) }
    started = status["started"]
    command = Self.line(words)
  }

  /// What a host runs besides: `/proc/PID/status` and its command line.
  init(_ host: String, _ name: String, process text: String, _ words: String) {
    self.init(host, name)
    for line in text.split(separator: "\n") {
      let parts = line.split(whereSeparator: { $0 == ":" || $0.isWhitespace })
      guard parts.count > 1 else { continue }
      switch parts[0] {
      case "Uid": user = parts[1] == "0" ? "root" : "#\(parts[1])"
      case "State" where parts.count > 2: state = parts[2].filter(\.isLetter)
      case "VmRSS": memoryKilobytes = Int(parts[1])
      default: break
      }
    }
    command = Self.line(words)
    if command.isEmpty { command = "[\(name.drop { $0 != "." }.dropFirst())]" }
  }

  /// Arguments as one line that moves no cursor.
  private static func line(_ words: String) -> String {
    String(
      String.UnicodeScalarView(
        words.unicodeScalars.map {
          $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) ? " " : $0
        })
    ).split(separator: " ").joined(separator: " ")
  }

  var cells: [String] {
    [
      name, owner, user, programClass, state,
      processorMilliseconds.map { Text.decimal(Double($0) / 1000, 2) + " s" } ?? "-",
      memoryKilobytes.map { $0 < 10_240 ? "\($0) KB" : "\($0 / 1024) MB" } ?? "-",
      started.flatMap(Self.clock) ?? "-", command,
    ]
  }

  /// Of today as a time, else as a date.
  private static func clock(_ seconds: String) -> String? {
    guard var time = seconds.split(separator: ".").first.flatMap({ Int($0) }) else { return nil }
    var now = Glibc.time(nil)
    var (then, today) = (tm(), tm())
    localtime_r(&time, &then)
    localtime_r(&now, &today)
    let isToday = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, isToday ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &then)
    return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  var json: JSON {
    .object([
      ("schema", .integer(1)), ("program", .string(name)), ("owner", .string(owner)),
      ("user", .string(user)), ("class", .string(programClass)), ("state", .string(state)),
      ("cpu_ms", processorMilliseconds.map { .integer($0) } ?? .null),
      ("memory_kb", memoryKilobytes.map { .integer($0) } ?? .null),
      ("started", started.map { .number($0) } ?? .null), ("command", .string(command)),
    ])
  }
}
