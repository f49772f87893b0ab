import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v ps`: the programs of all hosts.
struct ProgramList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps",
    abstract: "Lists the programs that run on hosts of the cluster.",
    discussion: """
      Example: v ps moa

      A program that has ended is listed as long as something runs that it left behind; with \
      --all the others too. OWNER is who started it, USER as whom it runs.

      A host that does not answer is named on standard error and holds nobody up.
      """)

  @Flag(name: .shortAndLong, help: "Also programs that have ended.")
  var all = false

  @Flag(name: .shortAndLong, help: "Also the other processes of the hosts.")
  var processes = false

  @Option(
    name: .shortAndLong, help: ArgumentHelp("Only those of this user.", valueName: "name"))
  var user: String?

  @Flag(name: .shortAndLong, help: "Print the names of the programs only.")
  var quiet = false

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("Hosts; all if none is given.", valueName: "host"), completion: .host)
  var hosts: [String] = []

  /// A host that falls silent just now is found silent after two seconds.
  private static let limit = TimeSpan.milliseconds(1500)

  func validate() throws {
    for host in hosts { try validateHost(host) }
  }

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    let session = Session(node)
    let hosts =
      hosts.isEmpty
      ? try TeamHosts.all(session) : hosts.map { $0 == "self" ? node.host : $0 }
    let limit = min(Self.limit, .milliseconds(options.timeoutMilliseconds))
    let found = Mutex<[String: Result<[ProgramRow], Refusal>]>([:])
    var workers: [pthread_t] = []
    for host in hosts {
      workers.append(
        Background.start {
          let rows = rows(of: host, session, limit)
          found.withLock { $0[host] = rows }
        })
    }
    for worker in workers { pthread_join(worker, nil) }
    let results = found.withLock { $0 }
    let answers = hosts.compactMap { try? results[$0]?.get() }
    if !answers.isEmpty { show(answers.flatMap { $0 }) }
    let silent = hosts.compactMap { host -> String? in
      guard case .failure(let refusal) = results[host] else { return nil }
      return "\(host): \(Self.reason(refusal, limit))"
    }
    for line in silent.dropLast() { say("v: ps: \(line)", to: 2) }
    if let last = silent.last { throw Failure(status: .refused, description: "ps: \(last)") }
  }

  private static func reason(_ refusal: Refusal, _ limit: TimeSpan) -> String {
    switch refusal.code {
    case .userTimeout: "no answer within \(limit.nanoseconds / 1_000_000) ms"
    case .notFound: "no such host"
    default: "\(refusal)"
    }
  }

  private func rows(
    of host: String, _ session: Session, _ limit: TimeSpan
  ) -> Result<[ProgramRow], Refusal> {
    do throws(Refusal) {
      let entries = try Listing.entries(of: host, session, limit: limit)
      return .success(
        entries.filter { processes || $0.isProgram }.compactMap { row(of: $0, on: host, session) }
          .filter { (all || $0.isRunning) && (user == nil || $0.user == user) })
    } catch {
      return .failure(error)
    }
  }

  /// Nil for a program that has ended meanwhile.
  private func row(
    of entry: Listing.Entry, on host: String, _ session: Session
  ) -> ProgramRow? {
    if quiet && all && user == nil { return ProgramRow(host, entry.name) }
    let program = RemoteProgram(entry.name, on: host, session)
    guard let status = try? program.text("status"), let words = try? program.text("cmdline")
    else { return nil }
    return entry.isProgram
      ? ProgramRow(host, entry.name, program: ProgramStatus(status), words)
      : ProgramRow(host, entry.name, process: status, words)
  }

  private func show(_ rows: [ProgramRow]) {
    if options.json {
      for row in rows { say(JSON.reply(row).text) }
    } else if quiet {
      for row in rows { say(row.name) }
    } else {
      say(Text.table([ProgramRow.heading] + rows.map(\.cells)).joined(separator: "\n"))
    }
  }
}

/// One line of `v ps`.
struct ProgramRow: Encodable, Sendable {
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
  var started: Double?
  var command = ""

  private enum CodingKeys: String, CodingKey {
    case name = "program"
    case owner, user
    case programClass = "class"
    case state
    case processorMilliseconds = "cpu_ms"
    case memoryKilobytes = "memory_kb"
    case started, command
  }

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
    started = status["started"].flatMap { Double($0) }
    command = Self.line(words)
  }

  /// Another process of a host: `/proc/PID/status` and its command line.
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

  /// Arguments as one line without control characters.
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
  private static func clock(_ seconds: Double) -> String? {
    guard var time = Int(exactly: seconds.rounded(.down)) else { return nil }
    var now = Glibc.time(nil)
    var (then, today) = (tm(), tm())
    localtime_r(&time, &then)
    localtime_r(&now, &today)
    let isToday = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, isToday ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &then)
    return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
