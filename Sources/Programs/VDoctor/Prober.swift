import Glibc
import VCommand
import VProtocol

/// Probes the network from this process: what an address answers, and which interfaces there are.
final class Prober {
  enum Finding {
    /// This host's own firewall blocks packets.
    case blockedHere
    /// The host reports that nobody listens at that port.
    case refused
    case unreachable(String)
    case silent(answersPing: Bool)
    /// The time limit of the command was reached before.
    case unknown
  }

  struct Interface {
    var name: String
    var address: String
    var isLoopback: Bool
    var isMulticast: Bool
  }

  /// A host on the same network answers within a few milliseconds.
  private static let waitMilliseconds: Int32 = 300
  /// How often ports of hosts that are up are probed again, for all of them together.
  ///
  /// Linux reports a closed port only once a second, and the node's own packets use that up.
  private var retries = 12
  private static let attemptsMax = 5
  private let deadline: ContinuousClock.Instant

  /// Probes no further addresses after so many seconds.
  init(seconds: Double) { deadline = .now + .seconds(seconds) }

  /// Sends an empty datagram, which a node ignores, to `ADDRESS:PORT`, and waits for what comes
  /// back.
  func probe(_ locator: String) -> Finding {
    guard ContinuousClock.now < deadline else { return .unknown }
    let parts = locator.split(separator: ":")
    guard parts.count == 2, let port = UInt16(parts[1]),
      let name = SocketAddress.name(parts[0], port)
    else {
      return .unreachable("'\(locator)' is not an address")
    }
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return .unreachable(errorText(errno)) }
    defer { close(socket) }
    // Then errors that the network reports are returned by the next call.
    var one: Int32 = 1
    setsockopt(socket, Int32(IPPROTO_IP), IP_RECVERR, &one, socklen_t(MemoryLayout<Int32>.size))
    guard SocketAddress.connect(socket, name) else { return finding(errno) }
    var isThere = false
    for attempt in 1... {
      guard send(socket, nil, 0, 0) >= 0 else { return finding(errno) }
      var octet: UInt8 = 0
      if Self.wait(socket), recv(socket, &octet, 1, Int32(MSG_DONTWAIT)) < 0 {
        return finding(errno)
      }
      isThere = isThere || answersPing(name)
      guard isThere, retries > 0, attempt < Self.attemptsMax else {
        return .silent(answersPing: isThere)
      }
      retries -= 1
    }
    return .silent(answersPing: isThere)
  }

  private func finding(_ error: Int32) -> Finding {
    switch error {
    case EPERM, EACCES: .blockedHere
    case ECONNREFUSED: .refused
    default: .unreachable(errorText(error))
    }
  }

  /// An echo request of ICMP, if this user may send one.
  private func answersPing(_ name: sockaddr_in) -> Bool {
    let kind = Int32(SOCK_CLOEXEC.rawValue)
    var socket = Glibc.socket(AF_INET, kind | Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP))
    var header = 20
    if socket < 0 {
      socket = Glibc.socket(AF_INET, kind | Int32(SOCK_DGRAM.rawValue), Int32(IPPROTO_ICMP))
      header = 0
    }
    guard socket >= 0, SocketAddress.connect(socket, name) else { return false }
    defer { close(socket) }
    // Type 8, code 0, checksum, identifier 0x5601, number 1.
    let request: [UInt8] = [8, 0, 0xA1, 0xFD, 0x56, 0x01, 0, 1]
    guard send(socket, request, request.count, 0) == request.count else { return false }
    for _ in 0..<8 {
      guard Self.wait(socket) else { return false }
      var answer = [UInt8](repeating: 0, count: 128)
      let count = recv(socket, &answer, answer.count, Int32(MSG_DONTWAIT))
      // Type 0 is the answer; this host's own request is not.
      if count >= header + 8, answer[header] == 0 { return true }
    }
    return false
  }

  /// Every IPv4 address of an interface that is up.
  func interfaces() -> [Interface] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [Interface] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ifa_next
      let flags = entry.pointee.ifa_flags
      guard let name = entry.pointee.ifa_addr, name.pointee.sa_family == sa_family_t(AF_INET),
        flags & UInt32(IFF_UP) != 0
      else { continue }
      let address = name.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        UInt32(bigEndian: $0.pointee.sin_addr.s_addr)
      }
      found.append(
        Interface(
          name: String(cString: entry.pointee.ifa_name),
          address: IPv4.text(of: address),
          isLoopback: flags & UInt32(IFF_LOOPBACK) != 0,
          isMulticast: flags & UInt32(IFF_MULTICAST) != 0))
    }
    return found
  }

  /// Whether a multicast that is sent by the interface with `address` comes back to this host.
  func multicastReturns(_ address: String) -> Bool {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0, var own = SocketAddress.name(Substring(address), 0),
      // A group of its own: no node listens to it.
      var group = SocketAddress.name("239.86.86.86", 0)
    else { return false }
    defer { close(socket) }
    var any = sockaddr_in()
    any.sin_family = sa_family_t(AF_INET)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    guard SocketAddress.bind(socket, any) else { return false }
    withUnsafeMutablePointer(to: &any) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(socket, $0, &size) }
    }
    var request = ip_mreq(imr_multiaddr: group.sin_addr, imr_interface: own.sin_addr)
    setsockopt(
      socket, Int32(IPPROTO_IP), IP_ADD_MEMBERSHIP, &request,
      socklen_t(MemoryLayout<ip_mreq>.size))
    setsockopt(
      socket, Int32(IPPROTO_IP), IP_MULTICAST_IF, &own.sin_addr,
      socklen_t(MemoryLayout<in_addr>.size))
    group.sin_port = any.sin_port
    let sent = withUnsafePointer(to: &group) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(socket, "v", 1, 0, $0, size) }
    }
    return sent == 1 && Self.wait(socket)
  }

  /// Why the UDP port of `address` cannot be used now; nil if it can.
  func portProblem(_ address: String, _ port: UInt16) -> String? {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0, let name = SocketAddress.name(Substring(address), port) else {
      return "'\(address)' is not an IPv4 address"
    }
    defer { close(socket) }
    return SocketAddress.bind(socket, name) ? nil : errorText(errno)
  }

  /// Whether something can be received, or an error reported, in time.
  private static func wait(_ socket: Int32) -> Bool {
    var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, waitMilliseconds) > 0
  }

}
