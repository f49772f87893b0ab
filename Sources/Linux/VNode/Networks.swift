import CVLinux
package import VProtocol

/// An address of this host, as Linux has it now.
package struct HostAddress: Hashable, Sendable {
  package var address: IPAddress
  /// The number of its interface, which an interface made anew does not have again.
  package var interface: UInt32
  /// Up, and connected.
  package var isRunning = true
  package var isLoopback = false
  package var hasMulticast = true
  /// Not to be used yet: Linux still asks whether another host has it.
  package var isTentative = false

  package init(_ address: IPAddress, on interface: UInt32) {
    (self.address, self.interface) = (address, interface)
  }
}

/// A network that a node takes part in: an interface and this host's addresses there.
package struct Network: Hashable, Sendable {
  package var interface: UInt32
  /// In order, those of IPv4 first.
  package var addresses: [IPAddress]
  package var hasMulticast: Bool

  package init(interface: UInt32, addresses: [IPAddress], hasMulticast: Bool = true) {
    self.interface = interface
    self.addresses = addresses
    self.hasMulticast = hasMulticast
  }

  var hasIPv4: Bool { addresses.contains { $0.ipv4 != nil } }
  var hasIPv6: Bool { addresses.contains { $0.ipv4 == nil } }
}

extension Network {
  /// Each costs a socket and a copy of every multicast; interfaces beyond it are not used.
  private static let countMax = 16

  /// The networks that a node takes part in: those of all interfaces that are up, or, if the
  /// configuration names an address, the one network that has it.
  package static func usable(_ addresses: [HostAddress], named: IPAddress?) -> [Network] {
    let good = addresses.filter { one in
      guard one.isRunning, !one.isTentative else { return false }
      guard let named else { return !one.isLoopback }
      return one.address == named
    }
    let networks = Dictionary(grouping: good, by: \.interface).map { interface, here in
      Network(
        interface: interface,
        addresses: here.map(\.address).sorted { ($0.high, $0.low) < ($1.high, $1.low) },
        // Linux carries multicasts on the loopback interface, but does not say so.
        hasMulticast: here.contains { $0.hasMulticast || $0.isLoopback })
    }
    return Array(networks.sorted { $0.interface < $1.interface }.prefix(countMax))
  }
}

extension HostAddress {
  /// The addresses of all interfaces; nil if Linux cannot say now.
  static func all() -> [HostAddress]? {
    var found = [v_interface_address](repeating: v_interface_address(), count: countMax)
    let count = unsafe v_interface_addresses(&found, Int32(countMax))
    guard count >= 0 else { return nil }
    return found.prefix(Int(count)).map { one in
      var address = HostAddress(IPAddress(one.address), on: one.interface)
      address.isRunning = one.is_running != 0
      address.isLoopback = one.is_loopback != 0
      address.hasMulticast = one.has_multicast != 0
      address.isTentative = one.is_tentative != 0
      return address
    }
  }

  /// A host of many containers has hundreds.
  private static let countMax = 1024
}
