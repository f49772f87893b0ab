import VProtocol

/// Reads a packet's header; `bytes` has no trailer.
func parse(_ bytes: [UInt8]) throws(WireError) -> PacketHeader {
  try PacketHeader(parsing: bytes.span.bytes, bodyBytes: bytes.count)
}

/// The error that refuses a packet, or nil.
func refusal(of bytes: [UInt8]) -> WireError? {
  do throws(WireError) {
    _ = try parse(bytes)
    return nil
  } catch {
    return error
  }
}

/// The packet without its trailer: header and padded data.
func emit(_ header: PacketHeader, data: [UInt8] = []) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xEE, count: PacketHeader.byteCount)
  var span = bytes.mutableSpan
  var raw = span.mutableBytes
  header.emit(into: &raw)
  return bytes + data
}

func checksum(_ body: [UInt8]) -> UInt32 { Checksum.of(body.span.bytes, count: body.count) }

/// Whether the last four octets of a whole clear packet are a valid checksum.
func isSound(_ packet: [UInt8]) -> Bool {
  Checksum.isSound(packet.span.bytes, count: packet.count - Checksum.byteCount)
}

func bigEndian(_ value: UInt32) -> [UInt8] {
  [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}

/// Stores a word of a packet.
func store(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
  bytes.replaceSubrange(offset..<(offset + 4), with: bigEndian(value))
}

/// The message of a packet that has its whole segment.
func message(_ body: [UInt8]) throws -> Message {
  let header = try parse(body)
  let segment = body[PacketHeader.byteCount...].prefix(header.mcb.segmentSize)
  return Message(header.mcb, segment: Array(segment))
}

extension MessageControlBlock {
  /// A message from its words, for tables.
  init(words: [UInt32]) {
    self.init()
    for (index, word) in words.enumerated() { self[index] = word }
  }
}
