import Testing
import VProtocol

@Suite("Addresses of the Internet")
struct IPAddressTests {
  @Test(
    "a text and its shortest form",
    arguments: [
      ("192.0.2.1", "192.0.2.1"), ("::", "::"), ("::1", "::1"), ("fd77::2", "fd77::2"),
      ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1::", "1::"),
      ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
      ("fe80::1%3", "fe80::1%3"), ("0:0:0:0:0:ffff:a4d:1", "10.77.0.1"),
    ])
  func texts(text: String, shortest: String) {
    #expect(IPAddress(text)?.description == shortest)
    #expect(IPAddress(shortest) == IPAddress(text))
  }

  @Test(
    "no address",
    arguments: [
      "", ":", ":::", "1", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::",
      "+1::", "1:2:3:4:5:6:7:8::", "fe80::1%", "fe80::1%eth0", "fe80::1%1%2", ":1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:", "192.0.2", "192.0.2.01",
    ])
  func refused(text: String) { #expect(IPAddress(text) == nil) }

  @Test("the octets, in order")
  func octets() {
    let address = IPAddress("2001:db8:1:2:3:4:5:6")
    #expect(address?.high == 0x2001_0DB8_0001_0002 && address?.low == 0x0003_0004_0005_0006)
    #expect(IPAddress(ipv4: 0x0A4D_0001).low == 0xFFFF_0A4D_0001)
    #expect(IPAddress(ipv4: 7).ipv4 == 7 && address?.ipv4 == nil)
    let local = IPAddress("febf::1%eth0") { $0 == "eth0" ? 4 : nil }
    #expect(local?.isLinkLocal == true && local?.scope == 4 && address?.isLinkLocal == false)
  }

  @Test(
    "with a port and without one",
    arguments: [
      ("10.77.0.1", "10.77.0.1", nil), ("10.77.0.1:7", "10.77.0.1", 7),
      ("fd77::1", "fd77::1", nil), ("[fd77::1]:61044", "fd77::1", 61_044),
      ("[fe80::1%2]:7", "fe80::1%2", 7),
    ] as [(String, String, UInt16?)])
  func ports(text: String, address: String, port: UInt16?) {
    let found = IPAddress.withPort(text)
    #expect(found?.address == IPAddress(address) && found?.port == port)
    if let port { #expect(found?.address.text(withPort: port) == text) }
  }

  @Test(
    "neither",
    arguments: ["", ":7", "[]:7", "[10.77.0.1]:7", "10.77.0.1:", "10.77.0.1:70000", "[::1]"])
  func noPlace(text: String) { #expect(IPAddress.withPort(text) == nil) }
}
