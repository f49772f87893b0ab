import ArgumentParser
import Glibc
import VAttach
import VProtocol

/// What a person types: looks at the system and acts in it, through this host's node.
@main
struct V: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "v",
    abstract: "Looks at V and acts in it, through this host's node.",
    discussion: """
      Example: v status

      Each command has an example of its own: v help status. What they print of the system can \
      also be read under /v. Messages go to standard error, results to standard output.

      Exit status: 0 done, 1 refused by the system, 2 wrong usage, 3 no node on this host, \
      4 time limit reached. v run, shell, wait and attach end as the program does that they are \
      about, or with 125.
      """,
    version: "0.1 (VMTP domain 0x1045)",
    subcommands: [
      Status.self, Ping.self, Query.self, List.self, Stat.self, Trace.self, Bench.self,
      Run.self, Shell.self, ProgramList.self, Kill.self, Wait.self, Attach.self, Logs.self,
      Group.self, Serve.self, MountCommand.self, UnmountCommand.self, Forget.self, Doctor.self,
    ])

  static func main() {
    openStandardStreams()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      say("v: \(failure.description)", to: 2)
      if let remedy = failure.remedy { say("v: \(remedy)", to: 2) }
      let status = failure.status.rawValue
      Glibc.exit(endsAsProgram ? max(status, Failure.Status.programLost.rawValue) : status)
    } catch {
      let text =
        nearestVerb.map { "v: there is no command '\($0.wrong)'; is it v \($0.near)?" }
        ?? fullMessage(for: error)
      if exitCode(for: error) == .success {
        say(text)
        Glibc.exit(0)
      }
      say(text, to: 2)
      Glibc.exit((endsAsProgram ? Failure.Status.programLost : .usage).rawValue)
    }
  }
}

extension V {
  /// Makes those of the standard streams that are closed something that is empty: else the next
  /// thing that is opened, the socket of the node perhaps, would be taken for one of them.
  private static func openStandardStreams() {
    // The lowest number that is free is the first that is closed.
    for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) < 0 { _ = open("/dev/null", O_RDWR) }
  }

  /// The verb that was perhaps meant, where the first argument is none.
  private static var nearestVerb: (wrong: String, near: String)? {
    guard CommandLine.arguments.count > 1, !CommandLine.arguments[1].hasPrefix("-") else {
      return nil
    }
    let wrong = CommandLine.arguments[1]
    let verbs = configuration.subcommands.map { $0._commandName } + ["help"]
    guard !verbs.contains(wrong) else { return nil }
    let near = verbs.map { ($0, distance($0, wrong)) }.min { $0.1 < $1.1 }
    guard let near, near.1 <= 2 else { return nil }
    return (wrong, near.0)
  }

  /// Whether the verb's exit status is that of a program.
  private static var endsAsProgram: Bool {
    ["run", "shell", "wait", "attach"].contains(CommandLine.arguments.dropFirst().first ?? "")
  }

  /// Letters to change, insert or take away.
  private static func distance(_ left: String, _ right: String) -> Int {
    var row = Array(0...right.utf8.count)
    for (index, letter) in left.utf8.enumerated() {
      var corner = row[0]
      row[0] = index + 1
      for (column, other) in right.utf8.enumerated() {
        let change = corner + (letter == other ? 0 : 1)
        corner = row[column + 1]
        row[column + 1] = min(change, row[column] + 1, row[column + 1] + 1)
      }
    }
    return row[right.utf8.count]
  }
}

/// Why a command did not do what it was told: one sentence and the exit status.
struct Failure: Error, CustomStringConvertible {
  enum Status: Int32 {
    case refused = 1
    case usage = 2
    case noNode = 3
    case timeLimit = 4
    /// Of a verb that else ends as a program does; 126 and 127 as a shell has them.
    case programLost = 125
    case programNotExecutable = 126
    case noProgram = 127
  }

  var status: Status
  var description: String
  /// What to do about it.
  var remedy: String?
}

/// What every command takes that prints something.
struct CommonOptions: ParsableArguments {
  @Flag(help: "Print one JSON object instead of text for people.")
  var json = false

  @OptionGroup var node: NodeOptions

  var timeout: Double { node.timeout }
  var timeoutMilliseconds: Int64 { node.timeoutMilliseconds }
  var socketPath: String { node.socketPath }
  func attach() throws(Failure) -> AttachedBackplane { try node.attach() }
}

/// What every command takes that asks a node.
struct NodeOptions: ParsableArguments {
  @Option(help: "Give up after so many seconds.")
  var timeout = 5.0

  @Option(
    help: ArgumentHelp(
      "The node's socket (default: $V_SOCKET, or /run/v/node.sock).", valueName: "path"))
  var socket: String?

  func validate() throws {
    guard timeout > 0, timeout <= 3600 else {
      throw ValidationError("--timeout takes a number of seconds, above 0 and at most 3600.")
    }
  }

  var timeoutMilliseconds: Int64 { max(1, Int64((timeout * 1000).rounded(.up))) }

  /// Attaches to the node of this host.
  func attach() throws(Failure) -> AttachedBackplane {
    do throws(AttachError) {
      return try AttachedBackplane(
        socketPath: socketPath, timeLimit: .milliseconds(timeoutMilliseconds))
    } catch {
      let isThere = error.description.contains("does not answer")
      throw Failure(
        status: isThere ? .timeLimit : .noNode,
        description: "\(error)",
        remedy: isThere ? nil : "to start it: \(CommonOptions.startCommand)")
    }
  }

  var socketPath: String { socket ?? AttachedBackplane.defaultSocketPath }
}

extension CommonOptions {
  /// The one command that starts this host's node.
  static var startCommand: String {
    let units = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
    if access("/run/systemd/system", F_OK) == 0,
      units.contains(where: { access("\($0)/vnode.service", F_OK) == 0 })
    {
      return "systemctl start vnode"
    }
    return Installation.script("up") ?? "vnode"
  }
}

/// Writes whole lines: results to standard output (1), everything else to standard error (2), for
/// people, without what a terminal would take for a command.
func say(_ text: String, to descriptor: Int32 = 1) {
  let text = descriptor == 2 ? Text.harmless(text) : text
  var octets = Array((text.hasSuffix("\n") ? text : text + "\n").utf8)[...]
  while !octets.isEmpty {
    let count = octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return }
    octets = octets.dropFirst(count)
  }
}
