/// Where a kernel receives its packets: an address of the Internet and a UDP port.
public struct Locator: Hashable, Sendable {
  public var address: IPAddress
  public var port: UInt16

  public init(_ address: IPAddress, port: UInt16) {
    self.address = address
    self.port = port
  }

  /// In host byte order.
  public init(ipv4: UInt32, port: UInt16) { self.init(IPAddress(ipv4: ipv4), port: port) }
}

extension Locator: CustomStringConvertible {
  public var description: String { address.text(withPort: port) }
}
