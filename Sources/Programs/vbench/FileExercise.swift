import Glibc
import VCommand

/// One directory put to work; every test leaves what the next one needs.
final class FileExercise {
  enum Test: String, CaseIterable {
    case sequentialWrite = "sequential write"
    case sequentialRead = "sequential read"
    case randomRead = "random 4 KB read"
    case randomWrite = "random 4 KB write"
    case create, stat, find, remove

    var isRate: Bool { self == .sequentialWrite || self == .sequentialRead }
    var unit: String { isRate ? "MB/s" : "us each" }

    /// How many times as long the first takes.
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

  /// Microseconds that `body` takes.
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
      status: .refused, description: "bench files: \(path): \(errorText(errno))")
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

  /// As find(1) walks: reads every folder and looks at every entry.
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
