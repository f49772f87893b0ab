import Fixtures
import Replaying
import Synchronization
import VNode
import VProtocol
import VRuntime
import VTransport

/// Whole nodes: an input is a list of packets that come to one, one after another.
///
/// ```
/// 0  time that has passed before it, in units of 100 us  1 | sender's address and choices 1 |
///    octets of packet 2
/// 4  packet
/// ```
/// The node traps if it does not bear them.
extension Parser {
  /// What the second octet says besides the address.
  private enum Choice {
    /// Sealed packets: the input itself, not a changed one of the other node.
    static let asItIs: UInt8 = 1
    /// Sealed packets: the same of the other node again.
    static let again: UInt8 = 2
    /// It came to the address of a group.
    static let multicast: UInt8 = 4
    /// Clear packets: with client and transaction of the request that the node's client waits for.
    static let answer: UInt8 = 128
  }

  /// Clear packets, to which a sound trailer is added: the kernel sees every field.
  static let packets = Parser(name: "packets to a node") { bytes in
    takeClear(bytes, in: .clear)
  }

  private static func takeClear(_ bytes: [UInt8], in node: NodeUnderTest) -> Outcome {
    take(bytes, in: node) { body, choices in
      var packet = body
      if choices & Choice.answer != 0 {
        let request = node.machine.request
        if packet.count >= PacketHeader.byteCount, request.count == 20 {
          packet.replaceSubrange(..<8, with: request[..<8])
          packet.replaceSubrange(16..<20, with: request[16...])
        }
      }
      // No checksum, which is sound: the one of `Checksum` would take longer than the packet.
      packet += [UInt8](repeating: 0, count: Checksum.byteCount)
      return packet
    }
  }

  /// A recording: a fresh kernel replays it, or it is refused.
  static let recordings = Parser(name: "recordings") { bytes in
    guard var replay = try? Replay(bytes) else { return .refused }
    while let record = try? replay.next() { _ = record }
    return replay.count > 1 ? .parsed : .refused
  }

  /// Sealed packets: those of another node, changed by the input, and the input itself.
  static let sealedPackets = Parser(name: "sealed packets to a node") { bytes in
    let node = NodeUnderTest.sealed
    return take(bytes, in: node) { body, choices in
      if choices & Choice.asItIs != 0 { return body }
      var packet = node.nextSound(again: choices & Choice.again != 0)
      for (index, octet) in body.prefix(packet.count).enumerated() { packet[index] ^= octet }
      return packet
    }
  }

  private static func take(
    _ bytes: [UInt8], in test: NodeUnderTest, _ finish: ([UInt8], _ choices: UInt8) -> [UInt8]
  ) -> Outcome {
    test.begin()
    var reader = SegmentReader(bytes)
    var taken = 0
    while let time = try? reader.integer(UInt8.self), let choices = try? reader.integer(UInt8.self),
      let count = try? reader.integer(UInt16.self)
    {
      let body = try? reader.octets(min(Int(count), reader.remaining, Sealed.packetBytesMax))
      guard let body, !body.isEmpty else { break }
      test.pass(.microseconds(Int64(time) * 100))
      var packet = finish(body, choices)
      let isSound = packet.withUnsafeMutableBytes { buffer in
        (try? test.node.handlePacket(
          buffer, from: Locator(ipv4: 0x0A4D_0100 + UInt32(choices), port: 61044),
          isMulticast: choices & Choice.multicast != 0)) != nil
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
    // The second is an answer, if it is a response.
    for fixture in Fixture.clear { samples.append(list([fixture.body], Choice.answer)) }
    return samples
  }()

  /// What a node records to which one packet comes, or all of them.
  static let recordingSamples: [[UInt8]] = packetSamples.map { sample in
    let recording = Recording()
    let node = NodeUnderTest(recorder: recording.take)
    _ = takeClear(sample, in: node)
    node.node.end()
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
  static let sealedSamples: [[UInt8]] = [
    list([[0]], Choice.again), list([[0], [0], [0, 0, 1]], Choice.again),
    list([[UInt8]](repeating: [0], count: 12), 0),
  ]

  private static func list(_ packets: [[UInt8]], _ choices: UInt8 = Choice.again) -> [UInt8] {
    var writer = SegmentWriter()
    for packet in packets {
      writer.integer(UInt8(1))
      writer.integer(choices)
      writer.integer(UInt16(packet.count))
      writer.octets(packet)
    }
    return writer.bytes
  }
}
