import Glibc
import VNode
import VProtocol

/// The address that the configuration names; nil if the node uses all networks of its host, or,
/// without a cluster key, none: it could not tell who sends to it.
func namedAddress(_ configuration: Configuration) throws -> IPAddress? {
  guard let text = configuration.listen else { return nil }
  guard let address = IPAddress(text, interface: interfaceNumber),
    address.isLinkLocal == (address.scope != 0)
  else {
    throw configuration.error(
      "listen", text, "not an address such as 192.0.2.1, 2001:db8::1 or fe80::1%eth0")
  }
  guard configuration.keyFile != nil else {
    throw configuration.error("listen", text, needsKey)
  }
  return address
}

private let needsKey = "needs a key_file: without a cluster key a node opens no network socket"

/// The addresses of the configured peers: `ADDRESS` or `ADDRESS:PORT`.
func peerAddresses(_ configuration: Configuration) throws -> [Locator] {
  try configuration.peers.map { text in
    guard let (address, ownPort) = IPAddress.withPort(text, interface: interfaceNumber),
      let port = ownPort ?? UInt16(exactly: configuration.port), port > 0,
      address.isLinkLocal == (address.scope != 0)
    else {
      throw configuration.error(
        "peers", text,
        "not an address such as 192.0.2.1, 192.0.2.1:61044, 2001:db8::1 or [2001:db8::1]:61044")
    }
    guard configuration.keyFile != nil else {
      throw configuration.error("peers", text, needsKey)
    }
    return Locator(address, port: port)
  }
}

private func interfaceNumber(_ name: String) -> UInt32? {
  let number = if_nametoindex(name)
  return number == 0 ? UInt32(name) : number
}

func localHostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  guard gethostname(&name, 255) == 0 else { return "localhost" }
  let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  return String(text.prefix { $0 != "." })
}
