package import Glibc
import VProtocol

/// Addresses of IPv4, as the calls of sockets take them.
package enum SocketAddress {
  package static func name(_ address: Substring, _ port: UInt16) -> sockaddr_in? {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    guard let number = IPv4.address(of: address) else { return nil }
    name.sin_addr.s_addr = number.bigEndian
    return name
  }

  package static func connect(_ socket: Int32, _ name: sockaddr_in) -> Bool {
    call(name) { Glibc.connect(socket, $0, $1) }
  }

  package static func bind(_ socket: Int32, _ name: sockaddr_in) -> Bool {
    call(name) { Glibc.bind(socket, $0, $1) }
  }

  private static func call(
    _ name: sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) -> Bool {
    withUnsafePointer(to: name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
