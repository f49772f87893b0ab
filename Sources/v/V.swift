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
      Examples:
        v status
        v ping -c 1000 moa

      Exit status: 0 done, 1 refused by the system, 2 wrong usage, 3 no node on this host, \
      4 time limit reached.
      """,
    version: "0.1 (VMTP domain 0x1045)",
    subcommands: [Status.self, Ping.self])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      say("v: \(failure.description)", to: 2)
      Glibc.exit(failure.status.rawValue)
    } catch {
      let text = fullMessage(for: error)
      if exitCode(for: error) == .success {
        say(text)
        Glibc.exit(0)
      }
      say(text, to: 2)
      Glibc.exit(Failure.Status.usage.rawValue)
    }
  }
}

/// Why a command did not do what it was told: one sentence and the exit status.
struct Failure: Error, CustomStringConvertible {
  enum Status: Int32 {
    case refused = 1
    case usage = 2
    case noNode = 3
    case timeLimit = 4
  }

  var status: Status
  var description: String
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Flag(help: "Print one JSON object instead of text for people.")
  var json = false

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
  func attach() throws -> AttachedBackplane {
    do throws(AttachError) {
      return try AttachedBackplane(
        socketPath: socket ?? AttachedBackplane.defaultSocketPath,
        timeLimit: .milliseconds(timeoutMilliseconds))
    } catch {
      throw Failure(status: .noNode, description: "\(error)")
    }
  }
}

/// Writes whole lines: results to standard output (1), everything else to standard error (2).
func say(_ text: String, to descriptor: Int32 = 1) {
  var octets = Array((text.hasSuffix("\n") ? text : text + "\n").utf8)[...]
  while !octets.isEmpty {
    let count = octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    guard count > 0 else { return }
    octets = octets.dropFirst(count)
  }
}
