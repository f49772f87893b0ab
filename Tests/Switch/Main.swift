import Glibc

/// The network of a lab.
///
/// Usage: `vswitch CONTROL ANSWERS SEED`. CONTROL and ANSWERS are FIFOs; their lines are described
/// in `Control.swift`. Runs until it is killed.
@main
enum Main {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 4, let seed = UInt64(arguments[3]) else {
      fail("Usage: vswitch CONTROL ANSWERS SEED")
    }
    // Open for both directions: no end of file comes when the other side closes.
    let control = open(arguments[1], O_RDWR | O_NONBLOCK | O_CLOEXEC)
    let answers = open(arguments[2], O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard control >= 0, answers >= 0 else {
      fail(SwitchFailure("\(arguments[1]), \(arguments[2])").description)
    }
    var network = Switch(seed: seed)
    var heard: [UInt8] = []
    while true {
      guard network.turn(control: control) else { continue }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = read(control, &bytes, bytes.count)
      heard += bytes[..<max(0, count)]
      while let end = heard.firstIndex(of: UInt8(ascii: "\n")) {
        let answer = network.obey(String(decoding: heard[..<end], as: UTF8.self)) + "\n"
        heard.removeFirst(end + 1)
        _ = write(answers, answer, answer.utf8.count)
      }
    }
  }

  private static func fail(_ text: String) -> Never {
    let line = "vswitch: \(text)\n"
    write(STDERR_FILENO, line, line.utf8.count)
    exit(1)
  }
}
