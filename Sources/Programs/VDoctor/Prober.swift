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
    var number: UInt32
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
    guard let (address, given) = IPAddress.withPort(locator), let port = given else {
      return .unreachable("'\(locator)' is not an address")
    }
    let name = SocketAddress(address, port)
    let socket = Self.datagramSocket(name.family)
    guard socket >= 0 else { return .unreachable(errorText(errno)) }
    defer { close(socket) }
    // Then errors that the network reports are returned by the next call.
    var one: Int32 = 1
    setsockopt(socket, Int32(IPPROTO_IP), IP_RECVERR, &one, socklen_t(MemoryLayout<Int32>.size))
    setsockopt(
      socket, Int32(IPPROTO_IPV6), IPV6_RECVERR, &one, socklen_t(MemoryLayout<Int32>.size))
    guard name.connect(socket) else { return finding(errno) }
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
  private func answersPing(_ name: SocketAddress) -> Bool {
    let kind = Int32(SOCK_CLOEXEC.rawValue)
    let isIPv4 = name.family == AF_INET
    let version = Int32(isIPv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)
    var socket = Glibc.socket(name.family, kind | Int32(SOCK_RAW.rawValue), version)
    var header = isIPv4 ? 20 : 0
    if socket < 0 {
      socket = Glibc.socket(name.family, kind | Int32(SOCK_DGRAM.rawValue), version)
      header = 0
    }
    guard socket >= 0, name.connect(socket) else { return false }
    defer { close(socket) }
    // Type 8 or 128, code 0, checksum (Linux makes that of IPv6), identifier 0x5601, number 1.
    let request: [UInt8] = (isIPv4 ? [8, 0, 0xA1, 0xFD] : [128, 0, 0, 0]) + [0x56, 1, 0, 1]
    guard send(socket, request, request.count, 0) == request.count else { return false }
    for _ in 0..<8 {
      guard Self.wait(socket) else { return false }
      var answer = [UInt8](repeating: 0, count: 128)
      let count = recv(socket, &answer, answer.count, Int32(MSG_DONTWAIT))
      // The type of an answer; this host's own request has another.
      if count >= header + 8, answer[header] == (isIPv4 ? 0 : 129) { return true }
    }
    return false
  }

  /// Every address of an interface that is up.
  func interfaces() -> [Interface] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [Interface] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ifa_next
      let flags = entry.pointee.ifa_flags
      guard flags & UInt32(IFF_UP) != 0, let name = entry.pointee.ifa_addr,
        let address = Self.address(name)
      else { continue }
      found.append(
        Interface(
          name: String(cString: entry.pointee.ifa_name),
          number: if_nametoindex(entry.pointee.ifa_name), address: "\(address)",
          isLoopback: flags & UInt32(IFF_LOOPBACK) != 0,
          isMulticast: flags & UInt32(IFF_MULTICAST) != 0))
    }
    return found
  }

  private static func address(_ name: UnsafeMutablePointer<sockaddr>) -> IPAddress? {
    let bytes = UnsafeRawPointer(name)
    switch Int32(name.pointee.sa_family) {
    case AF_INET:
      return IPAddress(ipv4: UInt32(bigEndian: bytes.load(as: sockaddr_in.self).sin_addr.s_addr))
    case AF_INET6:
      let name = bytes.load(as: sockaddr_in6.self)
      return withUnsafeBytes(of: name.sin6_addr) {
        IPAddress(
          high: UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
          low: UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
          scope: name.sin6_scope_id)
      }
    default: return nil
    }
  }

  /// Whether a multicast that is sent by an interface comes back to this host.
  func multicastReturns(by interface: Interface) -> Bool {
    // Groups of their own: no node listens to them.
    let isIPv4 = IPAddress(interface.address)?.ipv4 != nil
    guard let group = IPAddress(isIPv4 ? "239.86.86.86" : "ff18::8686:8686") else { return false }
    let socket = Self.datagramSocket(isIPv4 ? AF_INET : AF_INET6)
    defer { close(socket) }
    guard socket >= 0, SocketAddress(isIPv4 ? IPAddress(ipv4: 0) : .any, 0).bind(socket),
      let own = SocketAddress(of: socket)
    else { return false }
    let target = SocketAddress(group, own.port)
    if let number = group.ipv4 {
      var request = ip_mreqn()
      request.imr_multiaddr.s_addr = number.bigEndian
      request.imr_ifindex = Int32(interface.number)
      let size = socklen_t(MemoryLayout<ip_mreqn>.size)
      setsockopt(socket, Int32(IPPROTO_IP), IP_ADD_MEMBERSHIP, &request, size)
      setsockopt(socket, Int32(IPPROTO_IP), IP_MULTICAST_IF, &request, size)
    } else {
      var request = ipv6_mreq()
      withUnsafeMutableBytes(of: &request.ipv6mr_multiaddr) {
        $0.storeBytes(of: group.high.bigEndian, as: UInt64.self)
        $0.storeBytes(of: group.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      request.ipv6mr_interface = interface.number
      var number = Int32(interface.number)
      setsockopt(
        socket, Int32(IPPROTO_IPV6), IPV6_JOIN_GROUP, &request,
        socklen_t(MemoryLayout<ipv6_mreq>.size))
      setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_MULTICAST_IF, &number, 4)
    }
    return target.withName { sendto(socket, "v", 1, 0, $0, $1) } == 1 && Self.wait(socket)
  }

  /// Why the UDP port of `address` cannot be used now; nil if it can.
  func portProblem(_ address: String, _ port: UInt16) -> String? {
    guard let name = SocketAddress(address, port) else { return "'\(address)' is not an address" }
    let socket = Self.datagramSocket(name.family)
    defer { close(socket) }
    return name.bind(socket) ? nil : errorText(errno)
  }

  private static func datagramSocket(_ family: Int32) -> Int32 {
    Glibc.socket(family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  }

  /// Whether something can be received, or an error reported, in time.
  private static func wait(_ socket: Int32) -> Bool {
    var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, waitMilliseconds) > 0
  }

}
