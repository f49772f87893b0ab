import VNode
import VProtocol
import VTransport

/// A node of a sealed cluster on a machine that a test controls.
struct SealedHost {
  let node: Node
  let machine: FakeMachine
  let locator: Locator

  static let secret = (0..<32).map { UInt8($0) }

  init(
    _ host: String, kernel: KernelID, wallClock: Int64 = 1_700_000_000_000_000_000,
    version: UInt8 = PacketHeader.version
  ) {
    machine = FakeMachine(kernel: kernel, wallClock: wallClock)
    node = Node(host: host, machine: machine, secret: Self.secret, version: version)
    locator = Locator(ipv4: 0x0A00_0000 | kernel.rawValue & 0xFFFF, port: 61_044)
  }

  /// The error that refuses a packet, or nil.
  func refusal(of packet: [UInt8], from source: Locator) -> WireError? {
    var copy = packet
    return copy.withUnsafeMutableBytes { bytes -> WireError? in
      do throws(WireError) {
        try node.handlePacket(bytes, from: source)
        return nil
      } catch {
        return error
      }
    }
  }

  /// The packets sent since the last call.
  func takePackets() -> [[UInt8]] { machine.takeSent().flatMap(\.packets) }

  /// Carries packets between hosts until there are none; returns how many, at most 1,000.
  @discardableResult
  static func exchange(_ hosts: [SealedHost]) -> Int {
    var count = 0
    while count < 1000 {
      let sent = hosts.map { ($0, $0.machine.takeSent()) }
      guard sent.contains(where: { !$0.1.isEmpty }) else { break }
      for (sender, transmissions) in sent {
        for transmission in transmissions {
          for receiver in hosts where receiver.hears(transmission.destination, of: sender) {
            for packet in transmission.packets {
              count += 1
              _ = receiver.refusal(of: packet, from: sender.locator)
            }
          }
        }
      }
    }
    return count
  }

  private func hears(_ destination: Destination, of sender: SealedHost) -> Bool {
    switch destination {
    case .peer(_, let target), .copy(let target): target == locator
    case .group: sender.node.id != node.id
    }
  }
}
