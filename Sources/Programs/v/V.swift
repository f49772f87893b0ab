import ArgumentParser
import Glibc
import VAttach
import VCommand
import VDoctor
import VProtocol

/// The command for people: it looks at the system and controls it, through this host's node.
@main
struct V: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "v",
    abstract: "Looks at V and controls it, through this host's node.",
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
      failure.tell()
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
  /// Opens something empty for each closed standard stream: otherwise the next thing that is
  /// opened, such as the node's socket, would get its number.
  private static func openStandardStreams() {
    // The lowest free number is that of the first closed stream.
    for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) < 0 { _ = open("/dev/null", O_RDWR) }
  }

  /// The verb that was perhaps meant, if the first argument is not one.
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

  /// Letters to change, insert or remove.
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
