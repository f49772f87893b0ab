import VKernel
import VProtocol
import VTransport

/// One kernel without a machine, its actions, and packets of invented other kernels.
struct TestKernel: ~Copyable {
  var kernel: Kernel
  var step = Step()
  /// Actions that a test has not taken yet, though they were looked at.
  var kept: [Action] = []
  /// The transactions that have ended while timers ran, with their codes.
  private var ended: [EntityID: ReplyCode] = [:]

  static let id = KernelID(0x0A4D_0001)

  init(id: KernelID = Self.id, host: String = "kea", firstNumber: UInt32 = 16) {
    kernel = Kernel(id: id, host: host, entropy: 1, firstNumber: firstNumber)
    step.now = .init(nanoseconds: 1_000_000_000)
  }

  /// The actions since the last call.
  mutating func taken() -> [Action] {
    var actions = kept
    kept = []
    while let action = step.popFirst() { actions.append(action) }
    return actions
  }

  /// Retires an entity; returns the clients whose transactions end, with the codes.
  mutating func retire(_ entity: EntityID) -> [EntityID: ReplyCode] {
    kernel.retire(entity, &step)
    return completions()
  }

  /// The clients whose transactions have ended since the last call.
  mutating func completions() -> [EntityID: ReplyCode] {
    var codes = ended
    ended = [:]
    for case .complete(let client, _, let message) in taken() { codes[client] = message.reply }
    return codes
  }

  @discardableResult
  mutating func send(
    from client: EntityID, to server: EntityID, near: EntityID? = nil, limit: TimeSpan? = nil
  ) -> TransactionID {
    var mcb = MessageControlBlock(code: 0x7701)
    if let near {
      mcb.flags = .coResident
      mcb.coResident = near
    }
    return kernel.send(Message(mcb), from: client, to: server, limit: limit, &step)
  }

  /// Sends and answers at once, as most servers do.
  mutating func sendAndReply(
    from client: EntityID, to server: EntityID, limit: TimeSpan? = nil
  ) {
    send(from: client, to: server, limit: limit)
    for case .invoke(let request) in taken() {
      kernel.reply(Message(reply: .ok), to: request, &step)
    }
    _ = taken()
  }

  /// Takes in a request of a client of another kernel.
  mutating func receive(
    from kernel: UInt32, _ discriminator: UInt32 = 16, to server: EntityID, at port: UInt16 = 61044,
    near: EntityID? = nil
  ) {
    let sender = KernelID(kernel)
    var header = PacketHeader(
      function: .request, client: EntityID(kernel: sender, discriminator: discriminator),
      transaction: TransactionID(7), server: server, mcb: MessageControlBlock(code: 0x7701))
    if let near {
      header.mcb.flags = .coResident
      header.mcb.coResident = near
    }
    receive(header, from: sender, at: port)
  }

  mutating func receive(
    _ header: PacketHeader, _ segment: [UInt8] = [], from sender: KernelID, at port: UInt16 = 61044
  ) {
    var header = header
    header.delivery = DeliveryMask(segmentBytes: segment.count)
    let packet = [UInt8](repeating: 0, count: PacketHeader.byteCount) + segment
    kernel.handlePacket(
      packet.span.bytes, header, from: Locator(ipv4: 0x0A4D_0002, port: port), sender: sender,
      &step)
  }

  /// Answers a probe as the kernel of the entity that is probed.
  mutating func answer(
    _ probe: Transmission, transaction: TransactionID, at port: UInt16 = 61044
  ) {
    guard let entity = Self.probed(probe) else { return }
    let state = ProbeEntity.EntityState(
      transaction: transaction, entity: entity, isAwaitingResponse: true, principal: "ann@moa")
    answer(probe, state.message, from: entity.kernel, at: port)
  }

  /// Answers a probe as the manager of another kernel.
  mutating func answer(
    _ probe: Transmission, _ message: Message, from kernel: KernelID, at port: UInt16
  ) {
    let header = PacketHeader(
      function: .response, client: probe.header.client, transaction: probe.header.transaction,
      server: .manager(of: kernel), mcb: message.mcb)
    receive(header, message.segment, from: kernel, at: port)
  }

  /// The entity that a packet asks for.
  static func probed(_ sent: Transmission) -> EntityID? {
    try? ProbeEntity(parsing: Message(sent.header.mcb)).process
  }

  /// Another kernel sends a request from a place and answers there; the one before it does not.
  mutating func boot(_ kernel: UInt32, to server: EntityID, at port: UInt16 = 61044) {
    receive(from: kernel, to: server, at: port)
    run(for: .milliseconds(450)) { test, sent in
      if Self.probed(sent)?.kernel == KernelID(kernel) {
        test.answer(sent, transaction: TransactionID(7), at: port)
      }
    }
  }

  /// Does what is due, one timer after another, for a while; `body` sees each packet that is sent.
  mutating func run(for span: TimeSpan, _ body: (inout TestKernel, Transmission) -> Void) {
    let end = step.now + span
    while true {
      for action in taken() {
        switch action {
        case .transmit(let transmission): body(&self, transmission)
        case .complete(let client, _, let message): ended[client] = message.reply
        default: break
        }
      }
      if !step.isEmpty { continue }
      guard let next = kernel.nextDeadline, next <= end else { break }
      step.now = max(step.now, next)
      kernel.handleTimers(&step)
    }
    step.now = end
  }
}
