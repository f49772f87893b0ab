import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v shell`: a login shell on another host.
struct Shell: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Opens a login shell on a host.",
    discussion: """
      Example: v shell moa

      It is the shell that the host's table of users has for you, in your home directory there, \
      with a terminal if standard input and output are one. What it starts in the background goes \
      on when it ends.

      Exit status: the shell's, or 125 if there is none.
      """)

  @Option(
    help: ArgumentHelp(
      "Wait so long for a host that falls silent; the shell goes on meanwhile.",
      valueName: "seconds"))
  var wait = 60

  @OptionGroup var options: NodeOptions

  @Argument(help: ArgumentHelp("The host.", valueName: "host"), completion: .host)
  var host: String

  func validate() throws {
    try validateHost(host)
    guard 0...RunRequest.waitSecondsMax ~= wait else {
      throw ValidationError("--wait takes 0 to \(RunRequest.waitSecondsMax) seconds.")
    }
  }

  /// The variables of the terminal and the language; no others of a session go along.
  private static func carries(_ variable: [UInt8]) -> Bool {
    ["TERM=", "COLORTERM=", "LANG=", "LC_"].contains { variable.starts(with: Array($0.utf8)) }
  }

  func run() throws {
    let signals = SignalRelay()
    signals.start()
    let session = Session(try options.attach())
    var request = RunRequest(["/bin/sh", "-c", #"exec "$SHELL" -l"#].map { Array($0.utf8) })
    request.environment = Own.environment.filter(Self.carries)
    request.isAttached = true
    request.waitSeconds = wait
    if isatty(0) == 1 && isatty(1) == 1 { request.terminal = Terminal.size }
    try Foreground.run(
      request, host == "self" ? session.node.host : host, session, signals,
      .milliseconds(options.timeoutMilliseconds))
  }
}
