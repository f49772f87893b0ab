import VProtocol
import VTransport

/// Requests for some blocks of a response (MDM): RFC 1045 2.9.
extension Kernel {
  /// The response as its client wants it: with the mask of the blocks that are sent.
  ///
  /// An idempotent server's response is not kept. Its client takes the blocks that come and asks
  /// again for the others, so nothing is stored for it meanwhile.
  func masked(_ response: Message, for request: Request) -> Message {
    let asked = request.message.mcb
    guard let wanted = asked.delivery, asked.segmentSize == 0 else { return response }
    var masked = response
    masked.mcb.delivery = response.blocks.intersection(wanted)
    if entities[request.server]?.serverKind == .idempotent {
      masked.mcb.flags.insert(.idempotent)
    }
    return masked
  }
}
