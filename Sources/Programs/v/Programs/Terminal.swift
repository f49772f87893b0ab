import Glibc
import Synchronization
import VCommand
import VProtocol

/// This process's terminal, taken over for a program elsewhere and restored afterwards.
final class Terminal: Sendable {
  private struct State: Sendable {
    var saved: termios
    var isRaw = false
  }

  private let state: Mutex<State?>

  /// Nothing is taken over yet; standard input may not be a terminal.
  init() {
    var saved = termios()
    let isThere = tcgetattr(0, &saved) == 0
    state = Mutex(isThere ? State(saved: saved) : nil)
  }

  /// Every key goes to the program, ^C and ^Z too.
  func makeRaw() {
    state.withLock { state in
      guard var raw = state?.saved, Self.isForeground else { return }
      cfmakeraw(&raw)
      tcsetattr(0, TCSADRAIN, &raw)
      state?.isRaw = true
    }
  }

  func restore() {
    state.withLock { state in
      guard var saved = state?.saved, state?.isRaw == true else { return }
      // The program's last output is still on its way.
      tcsetattr(0, TCSADRAIN, &saved)
      state?.isRaw = false
    }
  }

  /// Whether keys go to this process's job.
  static var isForeground: Bool {
    let group = tcgetpgrp(0)
    // It is not the terminal that controls this process: no other job takes its keys.
    return group < 0 || group == getpgrp()
  }

  /// In the background it waits until a shell brings it to the foreground.
  static func waitForForeground() {
    while isatty(0) == 1 && !isForeground { usleep(50_000) }
  }

  /// The size of the terminal, or a usual one.
  static var size: TerminalSize {
    var size = winsize()
    for descriptor: Int32 in 0...2 {
      if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 {
        return TerminalSize(rows: size.ws_row, columns: size.ws_col)
      }
    }
    return TerminalSize(rows: 24, columns: 80)
  }

  /// Ends this process.
  static func leave(_ status: Int32, _ terminal: Terminal?) -> Never {
    terminal?.restore()
    Glibc.exit(status)
  }
}
