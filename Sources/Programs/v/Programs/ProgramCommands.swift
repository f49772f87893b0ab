import ArgumentParser
import Glibc
import VClient
import VCommand
import VProtocol

/// `v kill`: sends a signal to programs, wherever they are.
struct Kill: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Sends a signal to programs on any host.",
    discussion: """
      Example: v kill -s INT moa/12.sort

      KILL ends all processes of a program, another signal goes to its process group. A program is \
      named moa/12.sort, moa/12 or, on this host, 12; v ps lists them.
      """)

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("A name with or without SIG, or a number.", valueName: "signal"))
  var signal = "TERM"

  @OptionGroup var options: NodeOptions

  @Argument(help: ArgumentHelp("The program.", valueName: "program"), completion: .program)
  var programs: [String]

  func validate() throws {
    guard Signal.number(of: signal) != nil else {
      throw ValidationError("There is no signal '\(signal)'.")
    }
  }

  func run() throws {
    let session = Session(try options.attach())
    var failures: [Failure] = []
    for text in programs {
      do throws(Failure) {
        let program = try options.program(text, "kill", session)
        do throws(Refusal) {
          try program.control("kill \(signal)")
        } catch {
          throw Failure.ofProgram(text, "kill", error, session)
        }
      } catch {
        failures.append(error)
      }
    }
    for failure in failures.dropLast() { say("v: \(failure)", to: 2) }
    if let last = failures.last { throw last }
  }
}

/// `v wait`: waits for the end of programs.
struct Wait: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Waits until programs have ended, on any host.",
    discussion: """
      Example: v wait moa/12.sort

      Exit status: that of the program, of the last one if there are several; 128 + N if signal N \
      ended it; 125 if a program is not there or its host is lost.
      """)

  @OptionGroup var outage: OutageOptions
  @OptionGroup var options: NodeOptions

  @Argument(help: ArgumentHelp("The program.", valueName: "program"), completion: .program)
  var programs: [String]

  func run() throws {
    let session = Session(try options.attach())
    var status: Int32 = 0
    for text in programs {
      let program = try options.program(
        text, "wait", session, wait: outage.seconds, told: { Foreground.tell($0, of: $1) })
      do throws(Refusal) {
        // It is there, or this says at once that it is not.
        _ = try program.status()
        status = try program.waitForEnd().status
      } catch {
        throw Failure.ofProgram(text, "wait", error, session)
      }
    }
    Glibc.exit(status)
  }
}

/// `v logs`: prints the output of a program.
struct Logs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints the output of a program so far, the last megabyte of each stream.",
    discussion: """
      Example: v logs -f moa/12.make

      Its standard output goes to standard output, its standard error to standard error. Behind it \
      comes what an ended program has left in the background and that writes on.
      """)

  @Flag(name: .shortAndLong, help: "Go on with its output until it has ended.")
  var follow = false

  @OptionGroup var outage: OutageOptions
  @OptionGroup var options: NodeOptions

  @Argument(help: ArgumentHelp("The program.", valueName: "program"), completion: .program)
  var program: String

  /// Kept output comes at once: after this time without any there is no more.
  private static let silence = TimeSpan.milliseconds(300)

  func run() throws {
    let session = Session(try options.attach())
    let found = try options.program(
      program, "logs", session, wait: outage.seconds, told: { Foreground.tell($0, of: $1) })
    do throws(Refusal) {
      if follow {
        // It is there, or this says at once that it is not.
        _ = try found.status()
        let err = Background.start { try? Self.follow(found, "err", to: 2) }
        try Self.follow(found, "out", to: 1)
        pthread_join(err, nil)
      } else {
        try Self.copy(found, "out", to: 1, limit: Self.silence)
        try Self.copy(found, "err", to: 2, limit: Self.silence)
      }
    } catch {
      throw Failure.ofProgram(program, "logs", error, session)
    }
  }

  /// Up to the end of what the program has left behind by then.
  private static func follow(
    _ program: RemoteProgram, _ stream: String, to descriptor: Int32
  ) throws(Refusal) {
    let output = program.output(stream)
    try copy(to: descriptor) { () throws(Refusal) in try Answered.value { output.read($0) } }
  }

  private static func copy(
    _ program: RemoteProgram, _ stream: String, to descriptor: Int32, limit: TimeSpan
  ) throws(Refusal) {
    let file = try program.open(stream, .read)
    do throws(Refusal) {
      try copy(to: descriptor) { () throws(Refusal) in try file.read(limit: limit) }
    } catch {
      if error.code != .userTimeout { throw error }
    }
  }

  /// The first end is the program's, and the next one that of what it left behind.
  private static func copy(
    to descriptor: Int32, _ next: () throws(Refusal) -> [UInt8]
  ) throws(Refusal) {
    var wasEnd = false
    while true {
      let octets = try next()
      if octets.isEmpty && wasEnd { return }
      wasEnd = octets.isEmpty
      if !wasEnd { Own.write(octets, to: descriptor, nil) }
    }
  }
}
