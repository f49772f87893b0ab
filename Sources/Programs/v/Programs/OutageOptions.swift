import ArgumentParser
import VProtocol

/// How long a command that has found its program bears that its host is silent.
struct OutageOptions: ParsableArguments {
  @Option(
    name: .customLong("wait"),
    help: ArgumentHelp("Wait so long for a host that falls silent.", valueName: "seconds"))
  var seconds = 60

  func validate() throws {
    guard 0...RunRequest.waitSecondsMax ~= seconds else {
      throw ValidationError("--wait takes 0 to \(RunRequest.waitSecondsMax) seconds.")
    }
  }
}
