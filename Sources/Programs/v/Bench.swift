import ArgumentParser
import Glibc
import VAttach
import VProtocol
import VRuntime

/// `v bench`: the speed of V, beside a control that is measured in turn in the same run.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures V beside plain UDP or another directory, in turn.",
    discussion: """
      Example: v bench ipc moa

      Times are medians. A number without its control says more about the machine than about V.
      """,
    subcommands: [
      BenchIPC.self, BenchUIO.self, BenchPipe.self, BenchFiles.self, BenchStat.self,
      BenchRun.self, BenchEcho.self,
    ])
}

/// Samples of one thing, in nanoseconds.
struct Samples {
  private(set) var nanoseconds: [UInt32] = []

  mutating func add(_ span: TimeSpan) { nanoseconds.append(UInt32(clamping: span.nanoseconds)) }
  mutating func add(_ other: [UInt32]) { nanoseconds += other }

  /// In microseconds; nan without samples.
  var median: Double {
    guard !nanoseconds.isEmpty else { return .nan }
    return Double(nanoseconds.sorted()[(nanoseconds.count - 1) / 2]) / 1000
  }

  static func median(_ values: [Double]) -> Double {
    let sound = values.filter(\.isFinite).sorted()
    return sound.isEmpty ? .nan : sound[(sound.count - 1) / 2]
  }
}

extension JSON {
  static func decimal(_ value: Double, _ places: Int = 3) -> JSON {
    value.isFinite ? .number(Text.decimal(value, places)) : .null
  }
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

  /// The present times, as the nodes count them; `there` stays 0 if the other node is this one.
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

/// `v bench echo`: the other end of the plain UDP echo.
struct BenchEcho: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "echo",
    abstract: "Answers plain UDP datagrams, for v bench on another host.",
    discussion: """
      Example: v bench echo --port 9999

      Runs until it is ended. The first four octets of a datagram say how many octets the answer \
      has, at most 16,384: that is all that it knows.
      """)

  @Option(help: "The UDP port.")
  var port: UInt16 = 9999

  func run() throws {
    guard let server = UDPEcho.server("0.0.0.0", port) else {
      throw Failure(
        status: .refused, description: "bench echo: port \(port): \(Prober.reason(errno))")
    }
    UDPEcho.serve(server)
  }
}

/// A plain UDP echo with the calls that a C program would make: the floor under a Send.
struct UDPEcho {
  private let socket: Int32
  private var buffer = [UInt8](repeating: 0, count: 65_536)

  static let octetsMax = 16_384
  /// Nearly as short as a packet of V's shortest message.
  private static let octetsMin = 64

  /// A bound socket, or nil with `errno`.
  static func server(_ address: String, _ port: UInt16) -> Int32? {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0, let name = Prober.name(Substring(address), port),
      Prober.bind(socket, name)
    else { return nil }
    return socket
  }

  static func port(of socket: Int32) -> UInt16 {
    var name = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(socket, $0, &size) }
    }
    return UInt16(bigEndian: name.sin_port)
  }

  /// Answers until the process ends.
  static func serve(_ socket: Int32) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)
    var name = sockaddr_in()
    while true {
      withUnsafeMutablePointer(to: &name) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
          var size = socklen_t(MemoryLayout<sockaddr_in>.size)
          let count = recvfrom(socket, buffer.baseAddress, buffer.count, 0, name, &size)
          guard count >= 4 else { return }
          let wanted = UInt32(bigEndian: buffer.load(as: UInt32.self))
          sendto(socket, buffer.baseAddress, min(Int(wanted), octetsMax), 0, name, size)
        }
      }
    }
  }

  /// A client of the server at `ADDRESS:PORT`.
  init(_ place: String) throws {
    let parts = place.split(separator: ":")
    let port = parts.count == 2 ? UInt16(parts[1]) : 9999
    socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0, (1...2).contains(parts.count), let port,
      let name = Prober.name(parts[0], port), Prober.connect(socket, name)
    else {
      throw Failure(status: .usage, description: "bench: '\(place)' is not ADDRESS:PORT")
    }
    var limit = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(
      socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// The samples of `count` round trips; fewer if datagrams were lost.
  mutating func measure(_ count: Int, requestBytes: Int, answerBytes: Int) throws -> [UInt32] {
    let request = max(requestBytes, Self.octetsMin)
    let answer = max(answerBytes, Self.octetsMin)
    buffer[0] = 0
    buffer[1] = 0
    buffer[2] = UInt8(answer >> 8)
    buffer[3] = UInt8(answer & 0xFF)
    var samples: [UInt32] = []
    samples.reserveCapacity(count)
    var lost = 0
    var begin = timespec()
    var end = timespec()
    while samples.count < count {
      clock_gettime(CLOCK_MONOTONIC, &begin)
      var got = -1
      if send(socket, buffer, request, 0) >= 0 { got = recv(socket, &buffer, buffer.count, 0) }
      clock_gettime(CLOCK_MONOTONIC, &end)
      guard got >= 0 else {
        lost += 1
        guard lost < 3 else {
          throw Failure(
            status: .refused, description: "bench: the UDP echo: \(Prober.reason(errno))",
            remedy: "on the other host: v bench echo")
        }
        continue
      }
      let span = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + end.tv_nsec - begin.tv_nsec
      samples.append(UInt32(clamping: span))
    }
    return samples
  }

  func end() { close(socket) }
}
