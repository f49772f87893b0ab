import ArgumentParser
import Glibc
import VCommand

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
        status: .refused, description: "bench echo: port \(port): \(errorText(errno))")
    }
    UDPEcho.serve(server)
  }
}

/// A plain UDP echo with the calls that a C program would make: the floor under a Send.
struct UDPEcho {
  private let socket: Int32
  private var buffer = [UInt8](repeating: 0, count: 65_536)

  static let octetsMax = 16_384
  /// As short as a packet of V's shortest message, nearly.
  private static let octetsMin = 64

  /// A bound socket, or nil with `errno`.
  static func server(_ address: String, _ port: UInt16) -> Int32? {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0, let name = SocketAddress(address, port), name.bind(socket)
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
      let name = SocketAddress(parts[0], port), name.connect(socket)
    else {
      throw Failure(status: .usage, description: "bench: '\(place)' is not ADDRESS:PORT")
    }
    var limit = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(
      socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  /// The samples of `count` round trips; fewer where datagrams were lost.
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
            status: .refused, description: "bench: the UDP echo: \(errorText(errno))",
            remedy: "on the other host: v bench echo")
        }
        continue
      }
      let span = (end.tv_sec - begin.tv_sec) * 1_000_000_000 + end.tv_nsec - begin.tv_nsec
      samples.append(UInt32(clamping: span))
    }
    return samples
  }
}
