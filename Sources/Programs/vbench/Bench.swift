import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// Times V beside something else, in turn in the same run: `v bench` starts it.
@main
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "v bench",
    abstract: "Measures V beside plain UDP or another directory, in turn.",
    discussion: """
      Example: v bench ipc moa

      Times are medians. A number without its control says more about the machine than about V.
      """,
    subcommands: [
      BenchIPC.self, BenchServers.self, BenchUIO.self, BenchPipe.self, BenchFiles.self,
      BenchStat.self,
      BenchRun.self, BenchEcho.self,
    ])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      failure.tell()
      Glibc.exit(failure.status.rawValue)
    } catch {
      let isAsked = exitCode(for: error) == .success
      say(fullMessage(for: error), to: isAsked ? 1 : 2)
      Glibc.exit(isAsked ? 0 : Failure.Status.usage.rawValue)
    }
  }
}

/// Samples of one thing, in nanoseconds.
struct Samples {
  private(set) var nanoseconds: [UInt32] = []

  mutating func add(_ span: TimeSpan) { nanoseconds.append(UInt32(clamping: span.nanoseconds)) }
  mutating func add(_ other: [UInt32]) { nanoseconds += other }

  /// In microseconds; nan where there is nothing.
  var median: Double {
    guard !nanoseconds.isEmpty else { return .nan }
    return Double(nanoseconds.sorted()[(nanoseconds.count - 1) / 2]) / 1000
  }

  static func median(_ values: [Double]) -> Double {
    let sound = values.filter(\.isFinite).sorted()
    return sound.isEmpty ? .nan : sound[(sound.count - 1) / 2]
  }
}

/// What a bench prints with `--json`.
struct BenchReply<Row: Encodable>: Encodable {
  var bench: String
  var host: String
  var target: String
  var count: Int
  var rows: [Row]
}

extension CommonOptions {
  /// The rows of a bench as one object.
  func sayRows(
    _ rows: [some Encodable], bench: String, on host: String, _ target: String, _ count: Int
  ) {
    say(
      JSON.reply(
        BenchReply(bench: bench, host: host, target: target, count: count, rows: rows)
      ).text)
  }
}

extension Double {
  /// As rows have numbers.
  var inReply: Double { rounded(places: 3) }
}

/// Processor time in microseconds: of the nodes at both ends, and of this process.
struct ProcessorTime {
  var here = 0.0
  var there = 0.0
  var process = 0.0

  static func - (left: ProcessorTime, right: ProcessorTime) -> ProcessorTime {
    ProcessorTime(
      here: left.here - right.here, there: left.there - right.there,
      process: left.process - right.process)
  }

  static var ofThisProcess: Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    let microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
    return Double(seconds) * 1e6 + Double(microseconds)
  }

  /// As the nodes count it now; `there` stays 0 where the other node is this one.
  static func now(
    _ options: CommonOptions, _ node: AttachedBackplane, _ other: KernelID
  ) throws -> ProcessorTime {
    var time = ProcessorTime()
    time.here = Double(try options.report(of: node, "bench").cpuMicroseconds ?? 0)
    if other != node.kernel {
      time.there = Double(
        try options.report(of: node, kernel: other, "bench").cpuMicroseconds ?? 0)
    }
    time.process = ofThisProcess
    return time
  }
}
