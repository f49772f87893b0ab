import Glibc
import VProtocol

/// The IPv4 address that a node listens to, in host byte order; nil without a cluster key: then it
/// opens no network socket, because it could not tell who sends to it.
func listenAddress(_ configuration: Configuration) throws -> UInt32? {
  if let text = configuration.listen {
    guard let address = IPv4.address(of: text) else {
      throw configuration.error("listen", text, "not an IPv4 address such as 192.0.2.1")
    }
    guard configuration.keyFile != nil else {
      throw configuration.error("listen", text, needsKey)
    }
    return address
  }
  guard configuration.keyFile != nil else { return nil }
  guard let address = firstInterfaceAddress() else {
    throw ConfigurationError(
      description: "no network interface with an IPv4 address is up; set listen")
  }
  return address
}

private let needsKey = "needs a key_file: without a cluster key a node opens no network socket"

/// The addresses of the configured peers: `ADDRESS` or `ADDRESS:PORT`.
func peerAddresses(
  _ configuration: Configuration
) throws -> [(address: UInt32, port: UInt16)] {
  try configuration.peers.map { text in
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let port = parts.count == 2 ? UInt16(parts[1]) : UInt16(exactly: configuration.port)
    guard parts.count <= 2, let address = IPv4.address(of: String(parts[0])), let port, port > 0
    else {
      throw configuration.error("peers", text, "not an IPv4 address, or one with :PORT")
    }
    guard configuration.keyFile != nil else {
      throw configuration.error("peers", text, needsKey)
    }
    return (address, port)
  }
}

private func firstInterfaceAddress() -> UInt32? {
  var list: UnsafeMutablePointer<ifaddrs>?
  guard getifaddrs(&list) == 0 else { return nil }
  defer { freeifaddrs(list) }
  var next = list
  while let entry = next {
    next = entry.pointee.ifa_next
    let flags = entry.pointee.ifa_flags
    guard let name = entry.pointee.ifa_addr, name.pointee.sa_family == sa_family_t(AF_INET),
      flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0
    else { continue }
    return name.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      UInt32(bigEndian: $0.pointee.sin_addr.s_addr)
    }
  }
  return nil
}

func localHostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  guard gethostname(&name, 255) == 0 else { return "localhost" }
  let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  return String(text.prefix { $0 != "." })
}
