import ArgumentParser
import Glibc
import VCommand

/// `v bench files`: what programs see of a directory, beside another one.
struct BenchFiles: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "files",
    abstract: "Times reading, writing, creating and finding files, beside another directory.",
    discussion: """
      Example: v bench files /v/storage/moa --control /tmp

      Works in a new folder of each directory and removes it. In turn, three rounds, medians: \
      sequential writing (with fsync) and reading of one file in pieces of 1 MB; reading and \
      writing of 4 KB at random places; creating, looking at and finding 500 small files. The \
      control's pages are dropped from the cache before they are read.
      """)

  @Option(help: "The other directory.")
  var control: String

  @Option(help: "Megabytes of the large file.")
  var size = 64

  @OptionGroup var options: FileOptions

  @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
  var directory: String

  private static let rounds = 3

  func validate() throws {
    guard 1...4096 ~= size else { throw ValidationError("--size takes 1 to 4096.") }
  }

  func run() throws {
    options.limitTime("bench files")
    let subject = try FileExercise(directory, megabytes: size)
    defer { subject.remove() }
    let other = try FileExercise(control, megabytes: size)
    defer { other.remove() }
    var results: [[FileExercise.Test: [Double]]] = [[:], [:]]
    for _ in 0..<Self.rounds {
      for test in FileExercise.Test.allCases {
        for (index, exercise) in [subject, other].enumerated() {
          results[index][test, default: []].append(try exercise.run(test))
        }
      }
    }
    let rows = FileExercise.Test.allCases.map { test in
      (
        test, Samples.median(results[0][test] ?? []), Samples.median(results[1][test] ?? [])
      )
    }
    guard !options.json else {
      let lines = rows.map { test, value, control in
        FilesReply.Row(
          what: test.rawValue, unit: test.unit, value: value.inReply, control: control.inReply,
          ratio: test.ratio(value, control).inReply)
      }
      say(JSON.reply(FilesReply(directory: directory, control: control, rows: lines)).text)
      return
    }
    say(
      Text.table(
        [["WHAT", "UNIT", directory, control, "TIMES AS LONG"]]
          + rows.map { test, value, control in
            [
              test.rawValue, test.unit, Text.decimal(value, 1), Text.decimal(control, 1),
              Text.decimal(test.ratio(value, control), 2),
            ]
          }
      ).joined(separator: "\n"))
  }
}

/// What `v bench files --json` prints.
private struct FilesReply: Encodable {
  struct Row: Encodable {
    var what: String
    var unit: String
    var value: Double
    var control: Double
    var ratio: Double
  }

  let bench = "files"
  var directory: String
  var control: String
  var rows: [Row]
}

/// What the benches of files take.
struct FileOptions: ParsableArguments {
  @Flag(help: "Print one JSON object instead of text for people.")
  var json = false

  @Option(help: "Give up after so many seconds.")
  var timeout = 600.0

  func validate() throws {
    guard timeout > 0, timeout <= 86_400 else {
      throw ValidationError("--timeout takes a number of seconds, above 0 and at most 86400.")
    }
  }

  /// Ends the process at the time limit, whatever call it is in.
  func limitTime(_ verb: String) {
    let microseconds = timeout * 1e6
    let text = "v: \(verb): not done after \(timeout) s"
    Background.run {
      var rest = microseconds
      while rest > 0 {
        usleep(UInt32(min(rest, 500_000)))
        rest -= 500_000
      }
      say(text, to: 2)
      _exit(Failure.Status.timeLimit.rawValue)
    }
  }
}
