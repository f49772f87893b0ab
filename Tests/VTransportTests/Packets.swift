import VProtocol
import VTransport

/// One packet as the other side would read it.
struct Packet: Sendable {
  var header: PacketHeader
  var bytes: [UInt8]
}

let kernelS = KernelID(0xA1B2_C301)
let kernelN = KernelID(0x0D0E_0F11)
let client = EntityID(kernel: kernelS, discriminator: 16)
let server = EntityID(kernel: kernelN, discriminator: 17)
let group = EntityID.nameHandlingGroup
let start = Time(nanoseconds: 1_000_000_000)

/// A segment whose octets depend on their positions.
func pattern(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}

extension Transmission {
  /// All its packets, each parsed, at two blocks a packet.
  func packets() throws -> [Packet] {
    var packets: [Packet] = []
    var remaining = mask
    repeat {
      var bytes = [UInt8](repeating: 0xEE, count: Self.packetBytesMax)
      let size = emit(&remaining, into: &bytes)
      bytes.removeLast(bytes.count - size)
      let header = try PacketHeader(parsing: bytes.span.bytes, bodyBytes: size)
      packets.append(Packet(header: header, bytes: bytes))
    } while !remaining.isEmpty
    return packets
  }

  private func emit(_ remaining: inout DeliveryMask, into bytes: inout [UInt8]) -> Int {
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    return emitPacket(&remaining, into: &raw)
  }
}

/// The packets of a request or a response with a segment of `count` patterned octets.
func packets(
  _ function: PacketFunction, _ id: UInt32, segment count: Int = 0, mask: DeliveryMask? = nil,
  from responder: EntityID = server, control: ControlFlags = [], retransmitCount: UInt8 = 0,
  forwardCount: UInt8 = 0, code: UInt32 = 0x7701
) throws -> [Packet] {
  let message = Message(MessageControlBlock(code: code), segment: pattern(count))
  var header = PacketHeader(
    function: function, client: client, transaction: TransactionID(id), server: responder,
    mcb: message.mcb)
  header.control = control
  header.retransmitCount = retransmitCount
  header.forwardCount = forwardCount
  return try Transmission(
    to: .peer(kernelN, Locator(ipv4: 0, port: 0)), header, segment: message.segment,
    mask: mask ?? DeliveryMask(segmentBytes: count)
  ).packets()
}

/// The message that such packets carry.
func message(segment count: Int = 0, code: UInt32 = 0x7701) -> Message {
  Message(MessageControlBlock(code: code), segment: pattern(count))
}

/// All orders of the numbers below `count`.
func permutations(_ count: Int) -> [[Int]] {
  guard count > 0 else { return [[]] }
  return permutations(count - 1).flatMap { order in
    (0..<count).map { place in
      var longer = order
      longer.insert(count - 1, at: place)
      return longer
    }
  }
}
