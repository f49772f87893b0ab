package import Glibc
package import VProtocol

/// An address with a port, as the calls of sockets take it.
package struct SocketAddress {
  private var storage = sockaddr_storage()
  private let size: socklen_t

  package var family: Int32 { Int32(storage.ss_family) }

  /// Nil for what is no address.
  package init?(_ address: some StringProtocol, _ port: UInt16) {
    guard let address = IPAddress(address, interface: Self.number(of:)) else { return nil }
    self.init(address, port)
  }

  package init(_ address: IPAddress, _ port: UInt16) {
    if let number = address.ipv4 {
      var name = sockaddr_in()
      name.sin_family = sa_family_t(AF_INET)
      name.sin_port = port.bigEndian
      name.sin_addr.s_addr = number.bigEndian
      size = socklen_t(MemoryLayout<sockaddr_in>.size)
      withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: name, as: sockaddr_in.self) }
    } else {
      var name = sockaddr_in6()
      name.sin6_family = sa_family_t(AF_INET6)
      name.sin6_port = port.bigEndian
      name.sin6_scope_id = address.scope
      withUnsafeMutableBytes(of: &name.sin6_addr) {
        $0.storeBytes(of: address.high.bigEndian, as: UInt64.self)
        $0.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      size = socklen_t(MemoryLayout<sockaddr_in6>.size)
      withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: name, as: sockaddr_in6.self) }
    }
  }

  /// What a socket is bound to.
  package init?(of socket: Int32) {
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &size) }
    }
    guard result == 0 else { return nil }
    self.size = size
  }

  package var port: UInt16 {
    // At the same place in both versions.
    withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
  }

  package func connect(_ socket: Int32) -> Bool { withName { Glibc.connect(socket, $0, $1) } == 0 }

  package func bind(_ socket: Int32) -> Bool { withName { Glibc.bind(socket, $0, $1) } == 0 }

  package func withName<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    withUnsafePointer(to: storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
    }
  }

  private static func number(of interface: String) -> UInt32? {
    let number = if_nametoindex(interface)
    return number == 0 ? UInt32(interface) : number
  }
}
