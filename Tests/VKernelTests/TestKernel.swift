import VKernel
import VProtocol
import VTransport

/// One kernel without a machine, its actions, and packets of invented other kernels.
struct TestKernel: ~Copyable {
  var kernel: Kernel
  var step = Step()

  static let id = KernelID(0x0A4D_0001)

  init(firstNumber: UInt32 = 16) {
    kernel = Kernel(id: Self.id, host: "kea", entropy: 1, firstNumber: firstNumber)
    step.now = .init(nanoseconds: 1_000_000_000)
  }

  /// The actions since the last call.
  mutating func taken() -> [Action] {
    var actions: [Action] = []
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
    var codes: [EntityID: ReplyCode] = [:]
    for case .complete(let client, _, let message) in taken() { codes[client] = message.reply }
    return codes
  }

  mutating func send(
    from client: EntityID, to server: EntityID, near: EntityID? = nil, limit: TimeSpan? = nil
  ) {
    var mcb = MessageControlBlock(code: 0x7701)
    if let near {
      mcb.flags = .coResident
      mcb.coResident = near
    }
    kernel.send(Message(mcb), from: client, to: server, limit: limit, &step)
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
    from kernel: UInt32, _ discriminator: UInt32 = 16, to server: EntityID, at port: UInt16 = 61044
  ) {
    let sender = KernelID(kernel)
    let header = PacketHeader(
      function: .request, client: EntityID(kernel: sender, discriminator: discriminator),
      transaction: TransactionID(7), server: server, mcb: MessageControlBlock(code: 0x7701))
    let packet = [UInt8](repeating: 0, count: PacketHeader.byteCount)
    self.kernel.handlePacket(
      packet.span.bytes, header, from: Locator(ipv4: 0x0A4D_0002, port: port), sender: sender,
      &step)
  }
}
