import Fixtures
import Replaying
import Synchronization
import VNode
import VProtocol
import VRuntime
import VTransport

/// A whole node under test: an input is a list of packets that come to it one after another.
///
/// ```
/// 0  time that has passed before it, in units of 100 us  1 | sender's address 1 |
///    octets of packet 2
/// 4  packet
/// ```
/// The node traps if it does not bear them.
extension Parser {
  /// Clear packets, to which the right checksum is added: the kernel sees every field.
  static let packets = Parser(name: "packets to a node") { bytes in
    let machine = FakeMachine(kernel: KernelID(0x0A4D_0001))
    let node = Node(host: "kea", machine: machine, secret: nil)
    serve(node)
    return take(bytes, in: node, machine, addChecksum)
  }

  private static func addChecksum(_ body: [UInt8], _ address: UInt8) -> [UInt8] {
    var writer = SegmentWriter()
    writer.octets(body)
    let covered =
      body.count > 10 && body[10] & 0x80 != 0
      ? min(PacketHeader.byteCount, body.count) : body.count
    writer.integer(Checksum.of(body.span.bytes, count: covered))
    return writer.bytes
  }

  /// A recording: a fresh kernel replays it, or it is refused.
  static let recordings = Parser(name: "recordings") { bytes in
    guard var replay = try? Replay(bytes) else { return .refused }
    while let record = try? replay.next() { _ = record }
    return replay.count > 1 ? .parsed : .refused
  }

  /// Sealed packets: those of another node, changed by the input, and the input itself.
  static let sealedPackets = Parser(name: "sealed packets to a node") { bytes in
    let secret = [UInt8](repeating: 7, count: 32)
    let machine = FakeMachine(kernel: KernelID(0x0A4D_0001))
    let node = Node(host: "kea", machine: machine, secret: secret)
    serve(node)
    let other = FakeMachine(kernel: KernelID(0x0A4D_0003))
    Node(host: "moa", machine: other, secret: secret).announce()
    let sound = other.takeSent().flatMap(\.packets)
    return take(bytes, in: node, machine) { body, address in
      guard address & 1 == 0, var packet = sound.first else { return body }
      for (index, octet) in body.enumerated() where index < packet.count { packet[index] ^= octet }
      return packet
    }
  }

  private static func serve(_ node: Node) {
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    for knowsPrincipals in [true, false] {
      let server = node.makeServer(knowsPrincipals: knowsPrincipals) { [unowned node] request in
        node.reply(Message(MessageControlBlock(), segment: request.message.segment), to: request)
      }
      node.join(server, group: group)
    }
    // Waits for an answer that a packet may bring.
    let client = node.makeClient(user: "ann")
    node.send(
      Message(MessageControlBlock(code: 0x7701), segment: [1, 2, 3]), from: client,
      to: EntityID(kernel: KernelID(0x0A4D_0003), discriminator: 16), options: SendOptions()
    ) { _ in }
  }

  private static func take(
    _ bytes: [UInt8], in node: Node, _ machine: FakeMachine,
    _ finish: ([UInt8], _ address: UInt8) -> [UInt8]
  ) -> Outcome {
    defer { node.end() }
    var reader = SegmentReader(bytes)
    var taken = 0
    while let time = try? reader.integer(UInt8.self), let address = try? reader.integer(UInt8.self),
      let count = try? reader.integer(UInt16.self)
    {
      let body = try? reader.octets(min(Int(count), reader.remaining, Sealed.packetBytesMax))
      guard let body, !body.isEmpty else { break }
      machine.pass(.microseconds(Int64(time) * 100))
      node.handleTimers()
      var packet = finish(body, address)
      let isSound = packet.withUnsafeMutableBytes { buffer in
        (try? node.handlePacket(
          buffer, from: Locator(ipv4: 0x0A4D_0100 + UInt32(address), port: 61044))) != nil
      }
      if isSound { taken += 1 }
    }
    return taken > 0 ? .parsed : .refused
  }

  private enum Sealed {
    /// More than any packet has.
    static let packetBytesMax = 1500
  }

  static let packetSamples: [[UInt8]] = {
    var samples = Fixture.clear.map { list([$0.body]) }
    samples.append(list(Fixture.clear.map(\.body)))
    return samples
  }()

  /// What a node records to which one packet comes, or all of them.
  static let recordingSamples: [[UInt8]] = packetSamples.map { sample in
    let recording = Recording()
    let machine = FakeMachine(kernel: KernelID(0x0A4D_0001))
    let node = Node(host: "kea", machine: machine, secret: nil, recorder: recording.take)
    serve(node)
    _ = take(sample, in: node, machine, addChecksum)
    return recording.octets.withLock { $0 }
  }

  private final class Recording: Sendable {
    let octets = Mutex<[UInt8]>([])
    func take(_ record: [UInt8]) -> Bool {
      octets.withLock { $0 += record }
      return true
    }
  }

  /// No change at all is the sound packet.
  static let sealedSamples: [[UInt8]] = [list([[0]]), list([[0], [0], [0, 0, 1]])]

  private static func list(_ packets: [[UInt8]]) -> [UInt8] {
    var writer = SegmentWriter()
    for packet in packets {
      writer.integer(UInt8(1))
      writer.integer(UInt8(2))
      writer.integer(UInt16(packet.count))
      writer.octets(packet)
    }
    return writer.bytes
  }
}
