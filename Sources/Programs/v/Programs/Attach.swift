import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VClient
import VCommand
import VProtocol

/// `v attach`: the streams of a program that runs already.
struct Attach: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Connects this terminal, or these streams, to a program that was detached.",
    discussion: """
      Example: v attach moa/12.bash

      First comes what it has written so far. Of a program with a terminal every key goes to it, \
      and ^\\ leaves it, as in dtach(1); a program without one is left by ^C, and gets what is \
      typed as its input, with ^D at the end of it. Whoever leaves does not end it. Only the user \
      whose program it is can attach to it, and root of its host.

      Exit status: that of the program, 0 after leaving it, 125 if it is not there.
      """)

  @OptionGroup var outage: OutageOptions
  @OptionGroup var options: NodeOptions

  @Argument(help: ArgumentHelp("The program.", valueName: "program"), completion: .program)
  var program: String

  /// The key ^\.
  private static let leaveKey: UInt8 = 0x1C

  func run() throws {
    let signals = SignalRelay()
    signals.start()
    let session = Session(try options.attach())
    let ownTerminal = OwnTerminal()
    let found = try options.program(program, "attach", session, wait: outage.seconds) {
      Foreground.tell($0, of: $1, ownTerminal.terminal)
    }
    let status: ProgramStatus
    do throws(Refusal) {
      status = try found.status()
    } catch {
      throw Failure.ofProgram(program, "attach", error, session)
    }
    try checkRights(over: found, status, session)
    let size = status["terminal"]
    if isatty(0) == 1 || isatty(2) == 1 {
      say(
        "v: attached to \(found.host)/\(found.name); \(size == nil ? "^C" : "^\\") leaves it", to: 2
      )
    }
    let terminal = size == nil ? nil : Terminal()
    if let terminal {
      ownTerminal.terminal = terminal
      signals.relay(to: WindowKeeper(found, terminal))
      terminal.makeRaw()
      try? found.control("size \(Terminal.size.text)")
    }
    Background.run { feed(found, terminal) }
    do throws(Failure) {
      let end = try found.attend(terminal)
      Terminal.leave(end.status, terminal)
    } catch {
      terminal?.restore()
      throw error
    }
  }

  /// All users may see its status, but only its own user its streams.
  private func checkRights(
    over found: RemoteProgram, _ status: ProgramStatus, _ session: Session
  ) throws(Failure) {
    do throws(Refusal) {
      try found.open("out", .read, limit: .milliseconds(options.timeoutMilliseconds)).close()
    } catch {
      guard error.code == .noPermission else {
        throw Failure.ofProgram(program, "attach", error, session)
      }
      let owner = status["owner"] ?? "another user"
      throw Failure(
        status: .refused,
        description: "attach \(program): it is \(owner)'s, and no other's to attach to")
    }
  }

  /// Its input is opened with the first octet.
  ///
  /// Only a user who gave it input, or typed its end, ends it.
  private func feed(_ program: RemoteProgram, _ terminal: Terminal?) {
    var file: OpenFile?
    while let octets = InputFeed.next() {
      var keys = octets[...]
      let end = terminal == nil ? nil : keys.firstIndex(of: Self.leaveKey)
      if let end { keys = keys[..<end] }
      do throws(Refusal) {
        if file == nil { file = try program.open("in", .write) }
        if !keys.isEmpty { try file?.write(Array(keys)) }
      } catch {
        // Nobody knows whether it came there. Who types sees that, and types it again.
        guard ProgramConversation.isLoss(error.code), isatty(0) == 1 else {
          return say("v: \(program.host)/\(program.name) gets no more input: \(error)", to: 2)
        }
        file = nil
      }
      if end != nil {
        terminal?.restore()
        say("\nv: left \(program.host)/\(program.name)", to: 2)
        Glibc.exit(0)
      }
    }
    if file == nil && isatty(0) == 1 { file = try? program.open("in", .write) }
    file?.close()
  }
}

/// The terminal that an outage gives back to this process, once it has been taken.
private final class OwnTerminal: Sendable {
  private let state = Mutex<Terminal?>(nil)

  var terminal: Terminal? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

/// Signals of one who looks at a program: only the size of the terminal is for it.
private final class WindowKeeper: SignalTaker {
  private let program: RemoteProgram
  private let terminal: Terminal

  init(_ program: RemoteProgram, _ terminal: Terminal) {
    self.program = program
    self.terminal = terminal
  }

  func take(_ number: Int32) {
    switch number {
    case SIGWINCH, SIGCONT:
      terminal.makeRaw()
      try? program.control("size \(Terminal.size.text)")
    case SIGTSTP:
      terminal.restore()
      SignalRelay.obey(number)
    default: SignalRelay.end(by: number, terminal)
    }
  }
}
