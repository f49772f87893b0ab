import ArgumentParser
import Glibc
import VCommand

/// `v bench`: the program vbench, which measures, in the place of this process.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures V beside plain UDP or another directory, in turn.",
    discussion: """
      Example: v bench ipc moa

      v bench --help lists what is measured.
      """)

  @Argument(parsing: .captureForPassthrough, help: "What is measured, and its options.")
  var arguments: [String] = []

  func run() throws {
    guard let program = Installation.program("vbench") else {
      throw Failure(
        status: .refused, description: "bench: the program vbench is neither beside v nor on PATH")
    }
    var words = ([program] + arguments).map { strdup($0) } + [nil]
    execv(program, &words)
    throw Failure(status: .refused, description: "bench: \(program): \(errorText(errno))")
  }
}
