import Fixtures
import Testing
import VNode
import VProtocol
import VRuntime
import VTransport

@Suite("A node that probes a stranger")
struct ProbedPeerTests {
  @Test("survives an answer that promises a segment and has none")
  func shortAnswer() throws {
    let stranger = KernelID(0xA1B2_C301)
    let client = EntityID(kernel: stranger, discriminator: 16)
    let machine = FakeMachine(kernel: KernelID(0x0D0E_0F11))
    let node = Node(host: "moa", machine: machine, secret: nil)
    let server = node.makeServer(knowsPrincipals: true) { _ in }
    try take(
      node,
      PacketHeader(
        function: .request, client: client, transaction: TransactionID(5), server: server,
        mcb: MessageControlBlock(code: 1)))
    let sent = try #require(machine.takeSent().first?.packets.first)
    let probe = try PacketHeader(parsing: sent.span.bytes, bodyBytes: 64)
    #expect(probe.mcb.code == Management.probeEntity)
    var mcb = MessageControlBlock()
    mcb.setSegmentSize(16_384)
    try take(
      node,
      PacketHeader(
        function: .response, client: probe.client, transaction: probe.transaction,
        server: .manager(of: stranger), mcb: mcb))
    #expect(node.now == machine.now)
  }

  /// A clear packet without a checksum.
  private func take(_ node: Node, _ header: PacketHeader) throws {
    var bytes = [UInt8](repeating: 0, count: 68)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    header.emit(into: &raw)
    var failure: WireError?
    bytes.withUnsafeMutableBytes { packet in
      do throws(WireError) {
        try node.handlePacket(packet, from: Locator(ipv4: 1, port: 1))
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}
