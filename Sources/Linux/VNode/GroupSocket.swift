import CVLinux
import Glibc
import VProtocol

/// The socket that hears the groups of one network.
///
/// Each network has its own: Linux gives a socket 20 memberships of IPv4, and keeps those of an
/// interface that is gone. Closed when the last worker that reads from it has ended that.
final class GroupSocket: Sendable {
  let descriptor: Int32
  let network: Network

  /// Hears the groups with these numbers (`GroupAddress`); throws what Linux says.
  init(
    _ network: Network, family: Int32, port: UInt16, groups: Set<UInt32>
  ) throws(SocketError) {
    self.network = network
    let opened = v_udp_open(family, v_address(IPAddress.any, port: port), 1)
    guard opened >= 0 else {
      throw SocketError("cannot listen to groups on port \(port)", opened)
    }
    descriptor = opened
    for number in groups { join(number) }
  }

  deinit { close(descriptor) }

  func join(_ number: UInt32) {
    guard network.hasMulticast else { return }
    for address in GroupAddress.addresses(number, in: network) {
      _ = v_udp_join(descriptor, v_address(address), network.interface)
    }
  }
}

extension v_address {
  init(_ address: IPAddress, port: UInt16 = 0) {
    self.init(high: address.high, low: address.low, scope: address.scope, port: port)
  }
}

extension IPAddress {
  init(_ name: v_address) { self.init(high: name.high, low: name.low, scope: name.scope) }
}
