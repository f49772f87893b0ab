import ArgumentParser
import Glibc
import VCommand

/// `v bench stat`: how long one look at a path takes.
struct BenchStat: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stat",
    abstract: "Times lstat of one path, again and again.",
    discussion: """
      Example: v bench stat /v/storage/moa/hello -c 1000

      Stops at the first error and says how long that call took.
      """)

  @Option(name: .shortAndLong, help: "How many times.")
  var count = 1000

  @OptionGroup var options: FileOptions

  @Argument var path: String

  func validate() throws {
    guard 1...1_000_000 ~= count else {
      throw ValidationError("--count takes a number from 1 to 1,000,000.")
    }
  }

  func run() throws {
    options.limitTime("bench stat")
    var samples = Samples()
    var status = stat()
    var error: Int32 = 0
    var last = 0.0
    for _ in 0..<count where error == 0 {
      var begin = timespec()
      var end = timespec()
      clock_gettime(CLOCK_MONOTONIC, &begin)
      if lstat(path, &status) != 0 { error = errno }
      clock_gettime(CLOCK_MONOTONIC, &end)
      let span = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + end.tv_nsec - begin.tv_nsec
      last = Double(span) / 1000
      if error == 0 { samples.add([UInt32(clamping: span)]) }
    }
    let reason = error == 0 ? nil : errorText(error)
    if options.json {
      say(
        JSON.reply(
          StatReply(
            path: path, count: samples.nanoseconds.count, median: samples.median.inReply,
            error: reason, last: last.inReply)
        ).text)
    } else if error == 0 {
      say("\(path): \(count) looks, p50 \(Text.decimal(samples.median, 1)) us")
    }
    guard let reason else { return }
    throw Failure(
      status: .refused,
      description: "bench stat: \(path): \(reason) after \(Text.decimal(last / 1e6, 2)) s")
  }
}

private struct StatReply: Encodable {
  var path: String
  var count: Int
  var median: Double
  var error: String?
  var last: Double

  private enum CodingKeys: String, CodingKey {
    case path, count
    case median = "p50_us"
    case error
    case last = "last_us"
  }
}
