/// The management operations between kernels: RFC 1045 appendix III.
///
/// Acknowledgements are datagrams to the peer's manager; they have no packet types of their own.
public enum Management {
  public static let probeEntity: UInt32 = 0x000101
  public static let notifyClient: UInt32 = 0x00010F
  public static let notifyServer: UInt32 = 0x000110
  public static let notifyRemoteClient: UInt32 = 0x000111
  /// V's own.
  public static let beginTransaction: UInt32 = 0x000120
  public static let queryOutcome: UInt32 = 0x000121
}

/// Asks the manager of an entity for its current transaction and its principal.
///
/// The answer's multicast responder address tells where the entity is. Differs from RFC 1045 in
/// that the principal is text, with its marks beside it.
public struct ProbeEntity: ProcessOperation {
  public typealias Answer = EntityState
  public static let code = Management.probeEntity
  public static let isIdempotent = true

  public var process: EntityID
  public init(_ process: EntityID) { self.process = process }

  public struct EntityState: OperationAnswer {
    /// The last transaction that the entity started.
    public var transaction: TransactionID
    public var entity: EntityID
    /// It is still waiting for the response to that transaction.
    public var isAwaitingResponse: Bool
    /// `user@host`, at most 255 octets; a server has no user.
    public var principal: String
    public var marks: Principal.Marks
    /// When the entity's kernel started: nanoseconds since 1970 by its host's clock.
    public var startedAt: UInt64

    public init(
      transaction: TransactionID, entity: EntityID, isAwaitingResponse: Bool, principal: String,
      marks: Principal.Marks = [], startedAt: UInt64 = 0
    ) {
      self.transaction = transaction
      self.entity = entity
      self.isAwaitingResponse = isAwaitingResponse
      self.principal = principal
      self.marks = marks
      self.startedAt = startedAt
    }

    public init(parsing message: Message) throws(WireError) {
      transaction = TransactionID(message.mcb[1])
      entity = EntityID(rawValue: message.mcb.pair(2))
      isAwaitingResponse = message.mcb[4] & 1 != 0
      marks = Principal.Marks(rawValue: message.mcb[4] >> 1)
      startedAt = message.mcb.pair(5)
      guard message.segment.count <= 255 else { throw .badField(.name) }
      principal = try message.text()
    }

    /// The entity's principal; nil for a server, which acts for no user, and for a malformed
    /// principal.
    public var client: Principal? { Principal(principal, marks: marks) }

    /// The host of the entity, a client or a server; nil if it is malformed.
    public var host: String? {
      if principal.utf8.first != UInt8(ascii: "@") { return client?.host }
      let host = String(principal.dropFirst())
      return Principal.isName(host) ? host : nil
    }

    public var message: Message {
      Message(
        Self.answer.word(1, transaction.rawValue).pair(2, entity.rawValue)
          .word(4, marks.rawValue << 1 | (isAwaitingResponse ? 1 : 0)).pair(5, startedAt),
        segment: Array(principal.utf8))
    }
  }
}

extension ProbeEntity {
  /// The answer of a kernel that the entity has left, with the code `entityMigrated`.
  public struct Moved: Equatable, Sendable {
    public var entity: EntityID
    /// The kernel that it has moved to.
    public var kernel: KernelID
    /// `user@host`, which stays the same when an entity moves, or `@host`; empty if not known.
    public var principal: String

    public init(_ entity: EntityID, to kernel: KernelID, principal: String = "") {
      self.entity = entity
      self.kernel = kernel
      self.principal = principal
    }

    public init(parsing message: Message) throws(WireError) {
      entity = EntityID(rawValue: message.mcb.pair(2))
      kernel = KernelID(message.mcb[5])
      guard message.segment.count <= 255 else { throw .badField(.name) }
      principal = try message.text()
    }

    public var message: Message {
      var message = Message(reply: .entityMigrated)
      message.mcb.setPair(2, entity.rawValue)
      message.mcb[5] = kernel.rawValue
      return Message(message.mcb, segment: Array(principal.utf8))
    }
  }
}

/// Tells a server's kernel that a client is about to send it a request, and who the client is: a
/// datagram with what the answer to a probe of the client has.
///
/// The kernel answers by `NotifyClient`: `retryAll` to have the request, `busy` without room for a
/// record. Not in RFC 1045, where at most once rests on the client's clock.
public struct BeginTransaction: Equatable, Sendable {
  public var state: ProbeEntity.EntityState

  public init(_ state: ProbeEntity.EntityState) { self.state = state }

  public var client: EntityID { state.entity }
  public var transaction: TransactionID { state.transaction }

  public init(parsing message: Message) throws(WireError) {
    state = try ProbeEntity.EntityState(parsing: message)
  }

  public var message: Message {
    var message = state.message
    message.mcb.code = Management.beginTransaction
    message.mcb.flags.formUnion([.datagram, .publicInterface])
    return message
  }
}

/// Asks what became of a request of a kernel that has ended, for its successor on the same host.
///
/// The answer is the response itself; or `busy`, a server works on it; `nonexistentEntity`, the
/// request has not come and will not be taken; `outcomeUnknown`. Not in RFC 1045.
public struct QueryOutcome: Equatable, Sendable {
  public var client: EntityID
  public var transaction: TransactionID

  public init(client: EntityID, transaction: TransactionID) {
    self.client = client
    self.transaction = transaction
  }

  public init(parsing mcb: MessageControlBlock) {
    client = EntityID(rawValue: mcb.pair(1))
    transaction = TransactionID(mcb[3])
  }

  public var mcb: MessageControlBlock {
    var mcb = MessageControlBlock(code: Management.queryOutcome)
    mcb.flags = .publicInterface
    return mcb.pair(1, client.rawValue).word(3, transaction.rawValue)
  }
}

/// Tells a client's kernel the state of its request: `NotifyVmtpClient`, a datagram.
public struct NotifyClient: Equatable, Sendable {
  public var client: EntityID
  public var transaction: TransactionID
  /// Blocks of the request received so far.
  public var delivery: DeliveryMask
  public var code: ReplyCode
  /// Retransmit count and forward count of the request that this is about.
  public var retransmitCount: UInt8
  public var forwardCount: UInt8
  /// With `entityMigrated`, the kernel that the server has moved to; else nil.
  public var movedTo: KernelID?

  public init(
    client: EntityID, transaction: TransactionID, delivery: DeliveryMask, code: ReplyCode,
    retransmitCount: UInt8, forwardCount: UInt8 = 0, movedTo: KernelID? = nil
  ) {
    self.client = client
    self.transaction = transaction
    self.delivery = delivery
    self.code = code
    self.retransmitCount = retransmitCount
    self.forwardCount = forwardCount
    self.movedTo = movedTo
  }

  public init(parsing mcb: MessageControlBlock) {
    client = EntityID(rawValue: mcb.pair(1))
    retransmitCount = UInt8(mcb[3] >> 20 & 7)
    forwardCount = UInt8(mcb[3] >> 16 & 15)
    transaction = TransactionID(mcb[5])
    delivery = DeliveryMask(rawValue: mcb[6])
    code = ReplyCode(rawValue: mcb[7])
    movedTo = mcb[4] == 0 ? nil : KernelID(mcb[4])
  }

  public var mcb: MessageControlBlock {
    var mcb = MessageControlBlock(code: Management.notifyClient)
    mcb.flags = [.datagram, .coResident, .publicInterface]
    mcb.coResident = client
    return mcb.word(3, UInt32(retransmitCount & 7) << 20 | UInt32(forwardCount & 15) << 16 | 1)
      .word(4, movedTo?.rawValue ?? 0).word(5, transaction.rawValue)
      .word(6, delivery.rawValue).word(7, code.rawValue)
  }

  /// The same for the kernel that forwarded the request: `NotifyRemoteVmtpClient`, without CRE
  /// because the client is not local there.
  public var remoteMCB: MessageControlBlock {
    var mcb = mcb
    mcb.code = Management.notifyRemoteClient
    mcb.flags.remove(.coResident)
    return mcb
  }
}

/// Tells a server's kernel the state of its response: `NotifyVmtpServer`, a datagram.
public struct NotifyServer: Equatable, Sendable {
  public var server: EntityID
  public var client: EntityID
  public var transaction: TransactionID
  /// Blocks of the response received so far.
  public var delivery: DeliveryMask
  public var code: ReplyCode

  public init(
    server: EntityID, client: EntityID, transaction: TransactionID, delivery: DeliveryMask,
    code: ReplyCode
  ) {
    self.server = server
    self.client = client
    self.transaction = transaction
    self.delivery = delivery
    self.code = code
  }

  public init(parsing mcb: MessageControlBlock) {
    server = EntityID(rawValue: mcb.pair(1))
    client = EntityID(rawValue: mcb.pair(3))
    transaction = TransactionID(mcb[5])
    delivery = DeliveryMask(rawValue: mcb[6])
    code = ReplyCode(rawValue: mcb[7])
  }

  public var mcb: MessageControlBlock {
    var mcb = MessageControlBlock(code: Management.notifyServer)
    mcb.flags = [.datagram, .coResident, .publicInterface]
    return mcb.pair(1, server.rawValue).pair(3, client.rawValue)
      .word(5, transaction.rawValue).word(6, delivery.rawValue).word(7, code.rawValue)
  }
}
