import ArgumentParser
import Glibc

/// `v bench files`: the speed of a directory, beside another one.
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
      say(
        JSON.object([
          ("schema", .integer(1)), ("bench", .string("files")),
          ("directory", .string(directory)), ("control", .string(control)),
          (
            "rows",
            .array(
              rows.map { test, value, control in
                .object([
                  ("what", .string(test.rawValue)), ("unit", .string(test.unit)),
                  ("value", .decimal(value)), ("control", .decimal(control)),
                  ("ratio", .decimal(test.ratio(value, control))),
                ])
              })
          ),
        ]).text)
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

/// The options of benches of files.
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

  /// Ends the process at the time limit, even in a system call.
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

/// The tests of one directory; each leaves the files that the next one needs.
final class FileExercise {
  enum Test: String, CaseIterable {
    case sequentialWrite = "sequential write"
    case sequentialRead = "sequential read"
    case randomRead = "random 4 KB read"
    case randomWrite = "random 4 KB write"
    case create, stat, find, remove

    var isRate: Bool { self == .sequentialWrite || self == .sequentialRead }
    var unit: String { isRate ? "MB/s" : "us each" }

    /// How many times as long the first one takes.
    func ratio(_ value: Double, _ control: Double) -> Double {
      isRate ? control / value : value / control
    }
  }

  private let folder: String
  private let octets: Int
  private var block: [UInt8]
  private var random = SystemRandomNumberGenerator()

  private static let pieceBytes = 1 << 20
  private static let pageBytes = 4096
  private static let accesses = 500
  private static let files = 500

  init(_ directory: String, megabytes: Int) throws {
    folder = "\(directory)/.v-bench-\(getpid())"
    octets = megabytes << 20
    block = (0..<Self.pieceBytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try check(mkdir(folder, 0o700), folder)
  }

  private var large: String { "\(folder)/large" }
  private func small(_ number: Int) -> String { "\(folder)/\(number / 100)/\(number)" }

  /// Million octets in a second, or microseconds for one.
  func run(_ test: Test) throws -> Double {
    switch test {
    case .sequentialWrite: Double(octets) / (try time { try writeAll() })
    case .sequentialRead: Double(octets) / (try time { try readAll() })
    case .randomRead: try time { try access(O_RDONLY) } / Double(Self.accesses)
    case .randomWrite: try time { try access(O_WRONLY) } / Double(Self.accesses)
    case .create: try time { try createAll() } / Double(Self.files)
    case .stat: try time { try statAll() } / Double(Self.files)
    case .find: time { find(folder) } / Double(Self.files)
    case .remove: try time { try removeAll() } / Double(Self.files)
    }
  }

  func remove() {
    _ = try? removeAll()
    unlink(large)
    rmdir(folder)
  }

  /// The microseconds that `body` takes.
  private func time(_ body: () throws -> Void) rethrows -> Double {
    var begin = timespec()
    var end = timespec()
    clock_gettime(CLOCK_MONOTONIC, &begin)
    try body()
    clock_gettime(CLOCK_MONOTONIC, &end)
    let nanoseconds = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + end.tv_nsec - begin.tv_nsec
    return Double(nanoseconds) / 1000
  }

  private func check(_ result: Int32, _ path: String) throws {
    guard result < 0 else { return }
    throw Failure(
      status: .refused, description: "bench files: \(path): \(Prober.reason(errno))")
  }

  private func opened(_ path: String, _ flags: Int32) throws -> Int32 {
    let file = open(path, flags | O_CLOEXEC, 0o600)
    try check(file, path)
    return file
  }

  private func writeAll() throws {
    let file = try opened(large, O_WRONLY | O_CREAT | O_TRUNC)
    defer { close(file) }
    for _ in 0..<(octets / Self.pieceBytes) {
      try check(Int32(clamping: write(file, block, Self.pieceBytes)), large)
    }
    try check(fsync(file), large)
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
  }

  private func readAll() throws {
    let file = try opened(large, O_RDONLY)
    defer { close(file) }
    for _ in 0..<(octets / Self.pieceBytes) {
      try check(Int32(clamping: read(file, &block, Self.pieceBytes)), large)
    }
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
  }

  private func access(_ flags: Int32) throws {
    let file = try opened(large, flags)
    defer { close(file) }
    for _ in 0..<Self.accesses {
      let page = Int.random(in: 0..<(octets / Self.pageBytes), using: &random)
      let count =
        flags == O_RDONLY
        ? pread(file, &block, Self.pageBytes, off_t(page * Self.pageBytes))
        : pwrite(file, block, Self.pageBytes, off_t(page * Self.pageBytes))
      try check(Int32(clamping: count), large)
    }
    if flags != O_RDONLY { try check(fsync(file), large) }
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)
  }

  private func createAll() throws {
    for number in 0..<Self.files {
      if number % 100 == 0 { try check(mkdir("\(folder)/\(number / 100)", 0o700), folder) }
      close(try opened(small(number), O_WRONLY | O_CREAT | O_EXCL))
    }
  }

  private func statAll() throws {
    for number in 0..<Self.files {
      var status = Glibc.stat()
      try check(lstat(small(number), &status), small(number))
    }
  }

  /// Walks like find(1): reads every folder and looks at every entry.
  private func find(_ folder: String) {
    for name in Files.names(folder) {
      var status = Glibc.stat()
      let path = "\(folder)/\(name)"
      if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { find(path) }
    }
  }

  private func removeAll() throws {
    for number in 0..<Self.files { unlink(small(number)) }
    for number in 0..<(Self.files / 100) { rmdir("\(folder)/\(number)") }
  }
}

/// `v bench stat`: the time of one lstat of a path.
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
    let reason = error == 0 ? nil : Prober.reason(error)
    if options.json {
      say(
        JSON.object([
          ("schema", .integer(1)), ("path", .string(path)),
          ("count", .integer(samples.nanoseconds.count)), ("p50_us", .decimal(samples.median)),
          ("error", reason.map { .string($0) } ?? .null), ("last_us", .decimal(last)),
        ]).text)
    } else if error == 0 {
      say("\(path): \(count) looks, p50 \(Text.decimal(samples.median, 1)) us")
    }
    guard let reason else { return }
    throw Failure(
      status: .refused,
      description: "bench stat: \(path): \(reason) after \(Text.decimal(last / 1e6, 2)) s")
  }
}
