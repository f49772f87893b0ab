/// The address at which a kernel receives its packets: an IPv4 address in host byte order and a UDP
/// port.
public struct Locator: Hashable, Sendable {
  public var ipv4: UInt32
  public var port: UInt16

  public init(ipv4: UInt32, port: UInt16) {
    self.ipv4 = ipv4
    self.port = port
  }
}

extension Locator: CustomStringConvertible {
  public var description: String {
    [24, 16, 8, 0].map { "\(ipv4 >> UInt32($0) & 255)" }.joined(separator: ".") + ":\(port)"
  }
}
