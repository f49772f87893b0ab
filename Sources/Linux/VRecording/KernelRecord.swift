package import VKernel
package import VProtocol
import VTransport

/// One record of a recording: what entered a kernel, or an action that the kernel then wanted.
///
/// A recording is what happened to one kernel, from its start on. The first record makes it. Then
/// each entry is followed by its actions. All kinds have one form: the numbers of some fields, in
/// the order of the kernel's own function, and octets.
package struct KernelRecord: Equatable, Sendable {
  package enum Kind: UInt8, Sendable {
    case start = 1
    case announce, peers, packet, unopened, unreachable, timers
    case client, server, retire, join, send, datagram, reply, forward
    // Actions.
    case transmit = 64
    case invoke, respond, complete, nameHolder
  }

  package let kind: Kind
  package let numbers: [UInt64]
  package let octets: [UInt8]

  package init(
    _ kind: Kind, _ fields: any RecordField..., octets: some Sequence<UInt8> = [UInt8]()
  ) {
    self.kind = kind
    numbers = fields.flatMap(\.numbers)
    self.octets = Array(octets)
  }

  /// An action: of a segment it has only the checksum, since a kernel makes no octets of its own.
  package init(_ action: Action) {
    switch action {
    case .transmit(let sent):
      var header = [UInt8](repeating: 0, count: PacketHeader.byteCount)
      var span = header.mutableSpan
      var bytes = unsafe span.mutableBytes
      sent.header.emit(into: &bytes)
      let message = Message(sent.header.mcb, segment: sent.segment)
      self.init(
        .transmit, sent.destination, sent.mask.rawValue, message, sent.copies, octets: header)
    case .invoke(let request):
      self.init(.invoke, request, octets: (request.principal?.description ?? "").utf8)
    case .respond(let client, let transaction, let server, let message):
      self.init(.respond, client, transaction.rawValue, server, message)
    case .complete(let client, let server, let message):
      self.init(.complete, client, server, message)
    case .nameHolderChanged(let holder):
      self.init(.nameHolder, holder?.kernel.rawValue ?? 0, holder.map { [$0.locator] } ?? [])
    }
  }

  /// The record in a file: the number of octets that follow, its kind, how many numbers it has, the
  /// kernel's time, the numbers, the octets; all big-endian.
  package func emitted(at time: Time) -> [UInt8] {
    var writer = SegmentWriter()
    writer.integer(UInt32(Self.fixedBytes + 8 * numbers.count + octets.count))
    writer.integer(kind.rawValue)
    writer.integer(UInt32(numbers.count))
    writer.integer(time.nanoseconds)
    for number in numbers { writer.integer(number) }
    writer.octets(octets)
    return writer.bytes
  }

  package static let fixedBytes = 13
  /// Changes with the meaning of any record.
  package static let format: UInt8 = 1
}

/// A field of a record, as numbers.
package protocol RecordField {
  var numbers: [UInt64] { get }
}

extension UInt64: RecordField {
  package var numbers: [UInt64] { [self] }
}
extension UInt32: RecordField {
  package var numbers: [UInt64] { [UInt64(self)] }
}
extension UInt8: RecordField {
  package var numbers: [UInt64] { [UInt64(self)] }
}
extension Bool: RecordField {
  package var numbers: [UInt64] { [self ? 1 : 0] }
}
extension EntityID: RecordField {
  package var numbers: [UInt64] { [rawValue] }
}
extension Locator: RecordField {
  package var numbers: [UInt64] {
    [address.high, address.low, UInt64(address.scope) << 16 | UInt64(port)]
  }
}
extension Array: RecordField where Element: RecordField {
  package var numbers: [UInt64] { flatMap(\.numbers) }
}
extension Destination: RecordField {
  package var numbers: [UInt64] {
    switch self {
    case .peer(let kernel, let locator): kernel.rawValue.numbers + locator.numbers
    case .group(let group): group.numbers
    case .copy(let locator): locator.numbers
    }
  }
}
/// Its eight words, and the checksum of its segment.
extension Message: RecordField {
  package var numbers: [UInt64] {
    // One octet more, so that the last one counts where their number is odd.
    let padded = segment + [0]
    let sum = unsafe Checksum.of(padded.span.bytes, count: padded.count)
    return [mcb.pair(0), mcb.pair(2), mcb.pair(4), mcb.pair(6), UInt64(sum)]
  }
}
extension Request: RecordField {
  package var numbers: [UInt64] {
    [
      client.rawValue, UInt64(transaction.rawValue), addressee.rawValue, server.rawValue,
      UInt64(forwardCount), isLocal ? 1 : 0, UInt64(priority.bits),
    ] + message.numbers
  }
}
