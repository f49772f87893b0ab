/// Where a kernel receives its packets: an IPv6 address (IPv4 mapped into it) and a UDP port.
public struct Locator: Hashable, Sendable {
  public var high: UInt64
  public var low: UInt64
  public var port: UInt16

  public init(high: UInt64, low: UInt64, port: UInt16) {
    self.high = high
    self.low = low
    self.port = port
  }

  /// An IPv4 address in host byte order.
  public init(ipv4 address: UInt32, port: UInt16) {
    self.init(high: 0, low: 0xFFFF_0000_0000 | UInt64(address), port: port)
  }

  /// The IPv4 address in host byte order; nil where this is not a mapped one.
  public var ipv4: UInt32? {
    high == 0 && low >> 32 == 0xFFFF ? UInt32(truncatingIfNeeded: low) : nil
  }
}

extension Locator: CustomStringConvertible {
  public var description: String {
    guard let address = ipv4 else {
      return "[\(String(high, radix: 16)):\(String(low, radix: 16))]:\(port)"
    }
    let octets = [24, 16, 8, 0].map { "\(address >> UInt32($0) & 255)" }
    return octets.joined(separator: ".") + ":\(port)"
  }
}
