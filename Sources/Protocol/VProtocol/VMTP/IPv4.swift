/// Addresses of the Internet as people write them; as numbers they are in host byte order.
public enum IPv4 {
  public static func text(of address: UInt32) -> String {
    "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
  }

  /// Nil for what is not four numbers from 0 to 255, without zeros in front.
  public static func address(of text: some StringProtocol) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var address: UInt32 = 0
    for part in parts {
      guard let octet = UInt8(part), "\(octet)" == part else { return nil }
      address = address << 8 | UInt32(octet)
    }
    return address
  }
}
