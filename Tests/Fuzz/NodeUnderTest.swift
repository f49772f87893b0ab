import VNode
import VProtocol
import VRuntime
import VTransport

/// A node, the packets of another one for it, and its client, which always waits for an answer that
/// a packet may bring.
///
/// `@unchecked Sendable`: there is one thread.
final class NodeUnderTest: @unchecked Sendable {
  let machine: QuietMachine
  let node: Node
  private let client: EntityID
  private var isWaiting = false
  /// The next one of `sound`.
  private var soundIndex = 0

  /// The nodes since the last `renew`.
  nonisolated(unsafe) private static var known: (clear: NodeUnderTest?, sealed: NodeUnderTest?)

  static var clear: NodeUnderTest {
    if let clear = known.clear { return clear }
    let clear = NodeUnderTest()
    known.clear = clear
    return clear
  }

  static var sealed: NodeUnderTest {
    if let sealed = known.sealed { return sealed }
    let sealed = NodeUnderTest(secret: secret)
    known.sealed = sealed
    return sealed
  }

  /// From now on the nodes are new ones.
  static func renew() {
    known.clear?.node.end()
    known.sealed?.node.end()
    known = (nil, nil)
  }

  private static let secret = [UInt8](repeating: 7, count: 32)
  private static let own = KernelID(0x0A4D_0001)
  private static let other = KernelID(0x0A4D_0003)

  init(secret: [UInt8]? = nil, recorder: (@Sendable ([UInt8]) -> Bool)? = nil) {
    machine = QuietMachine(kernel: Self.own)
    node = Node(host: "kea", machine: machine, secret: secret, recorder: recorder)
    Self.serve(node)
    client = node.makeClient(user: "ann")
    machine.note(requestsOf: client)
  }

  /// Before an input: what is limited to some in a second may happen again, and the client waits.
  ///
  /// What is due then is carried out before the first packet.
  func begin() {
    machine.pass(.milliseconds(100))
    guard !isWaiting else { return }
    isWaiting = true
    node.send(
      Message(MessageControlBlock(code: 0x7701), segment: [1, 2, 3]), from: client,
      to: EntityID(kernel: Self.other, discriminator: 16), options: SendOptions()
    ) { [unowned self] _ in isWaiting = false }
  }

  func pass(_ span: TimeSpan) {
    machine.pass(span)
    node.handleTimers()
  }

  /// Returns the server that knows its principals.
  @discardableResult
  private static func serve(_ node: Node) -> EntityID {
    let group = EntityID(group: 77, low: 7, isUnrestricted: true)
    let servers = [true, false].map { knowsPrincipals in
      node.makeServer(knowsPrincipals: knowsPrincipals) { [unowned node] request in
        node.reply(Message(MessageControlBlock(), segment: request.message.segment), to: request)
      }
    }
    for server in servers { node.join(server, group: group) }
    return servers[0]
  }

  /// A packet of the other node, in the order in which it sent them; or the same again.
  func nextSound(again: Bool) -> [UInt8] {
    defer { if !again { soundIndex = (soundIndex + 1) % Self.sound.count } }
    return Self.sound[soundIndex]
  }

  /// What the other node once sent to one like this: announcements, requests, and what belongs to
  /// them.
  ///
  /// Made once: a node with the same identifier has the same keys.
  private static let sound: [[UInt8]] = {
    let machines = [own, other].map { QuietMachine(kernel: $0, keepsSent: true) }
    let nodes = zip(machines, ["kea", "moa"]).map {
      Node(host: $1, machine: $0, secret: secret)
    }
    defer { for node in nodes { node.end() } }
    let server = serve(nodes[0])
    var sound: [[UInt8]] = []
    for _ in 0..<exchangesMax {
      nodes[1].announce()
      nodes[1].send(
        Message(MessageControlBlock(code: 0x7701), segment: [1, 2, 3]),
        from: nodes[1].makeClient(user: "ann"), to: server, options: SendOptions()
      ) { _ in }
      var isQuiet = false
      while !isQuiet {
        let sent = machines[1].takeSent()
        sound += sent
        deliver(sent, to: nodes[0])
        let answers = machines[0].takeSent()
        deliver(answers, to: nodes[1])
        isQuiet = sent.isEmpty && answers.isEmpty
      }
      for (machine, node) in zip(machines, nodes) {
        machine.pass(.seconds(1))
        node.handleTimers()
      }
    }
    return sound
  }()

  /// Enough for some packets of each input until the nodes are new ones.
  private static let exchangesMax = 64

  private static func deliver(_ packets: [[UInt8]], to node: Node) {
    for var packet in packets {
      packet.withUnsafeMutableBytes { buffer in
        try? node.handlePacket(buffer, from: Locator(ipv4: 0x0A4D_0102, port: 61044))
      }
    }
  }
}
