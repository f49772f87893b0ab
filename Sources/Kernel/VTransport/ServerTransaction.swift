public import VProtocol

/// What a kernel remembers of one remote client: RFC 1045's client state record.
///
/// ```
///            unknown client               whole
///   (start) -----------> awaiting probe   request        respond           acknowledged
///      |                      |          +-------> processing --> responded ----> discarded
///      | known client         v          |             |  ^
///      +----------------> receiving -----+             +--+ repeated request: OK
/// ```
/// RFC 1045 6. It is the duplicate filter: an older request is dropped, an equal one is answered
/// from what is kept, a newer one acknowledges the last response and takes the record over.
public struct ServerTransaction: Sendable {
  public enum Action: Equatable, Sendable {
    /// Hand the whole request to its server.
    case deliver(Message)
    /// Ask the client's kernel for its current transaction and its principal.
    case probe
    case notifyClient(ReplyCode, received: DeliveryMask, retransmitCount: UInt8)
    /// Send the kept response: all blocks, or these.
    case respond(DeliveryMask, acknowledge: Bool)
    /// Send these blocks of the forwarded request to its next server, and tell the client that
    /// it is being worked on if it asked.
    case forward(DeliveryMask, tellsClient: Bool)
    /// Forget this client.
    case drop
    case nothing
  }

  enum State: Sendable {
    case awaitingProbe, receiving, processing, responded, forwarded, discarded
  }

  public let client: EntityID
  public private(set) var id: TransactionID
  public private(set) var forwardCount: UInt8
  /// The kernel that sent the request: where notifications and the response go.
  public private(set) var peer: KernelID
  /// The entity that the request was addressed to.
  public private(set) var addressee: EntityID
  /// Who answered, once somebody did.
  public private(set) var responder: EntityID = .none
  /// Who the client is, once probed.
  public private(set) var principal: Principal?
  public private(set) var wakeAt: Time
  /// The earliest entry of this record in the timer queue, kept by the kernel.
  public var queuedAt: Time?
  /// A later entry that is in the queue as well, since the earlier one came after it.
  public var queuedLaterAt: Time?
  private var retransmitCount: UInt8
  private var state = State.awaitingProbe
  /// The request so far, while awaiting a probe or receiving.
  private var reception: PacketGroupReception?
  /// The response kept for repetition, while responded.
  public private(set) var response: Message?
  /// The request as it went on to another kernel, while forwarded.
  public private(set) var forwarded: (request: Message, target: EntityID)?
  /// Since when that kernel owes an answer.
  public private(set) var targetAskedAt: Time?
  private var probes = 0
  /// Times in a row that missing blocks were asked for in vain.
  private var retries = 0
  private static let retriesMax = 30
  /// How often one server of this kernel handed the request to another.
  private var forwardsHere: UInt8 = 0
  /// The server of this kernel that the request was handed on to; `none` before that.
  public private(set) var holder: EntityID = .none

  /// A request of a client without a record.
  ///
  /// Its principal and current transaction come first.
  public init(_ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time) {
    client = header.client
    id = header.transaction
    forwardCount = header.forwardCount
    addressee = header.server
    retransmitCount = header.retransmitCount
    self.peer = peer
    wakeAt = now
    takeUp(header, packet, from: peer)
  }

  public var isProcessing: Bool { state == .processing }
  /// Whether a packet brings something: a newer request, or blocks not yet here of this one.
  public func isMissing(_ header: PacketHeader) -> Bool {
    if header.transaction != id { return header.transaction.isNewer(than: id) }
    guard let reception else { return false }
    return !reception.received.contains(header.delivery)
  }

  /// The client has its response, or will never want it: the record may go.
  public var isDiscarded: Bool { state == .discarded }
  /// What `server` is given.
  public func request(_ message: Message, for server: EntityID) -> Request {
    Request(
      client: client, transaction: id, addressee: addressee, server: server,
      forwardCount: forwardCount, message: message, principal: principal, isLocal: false)
  }
  /// What the response's RetransmitCount repeats.
  public var echoedRetransmitCount: UInt8 { retransmitCount }

  /// Asks for the first probe.
  public mutating func start(at now: Time, roundTrip: RoundTrip) -> Action {
    wakeAt = now + roundTrip.retransmission
    return .probe
  }

  /// A packet of a request from a client with this record.
  public mutating func handleRequest(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time
  ) -> Action {
    if header.transaction == id {
      if header.forwardCount < forwardCount - forwardsHere { return .nothing }
      if header.forwardCount <= forwardCount {
        return handleRepeated(header, packet, at: now)
      }
    } else if !header.transaction.isNewer(than: id) {
      return .nothing
    }
    takeUp(header, packet, from: peer)
    // A probe under way will tell about this newer request as well.
    if state == .awaitingProbe { return .nothing }
    return deliverOrWait(at: now)
  }

  /// What the client's kernel said of the client.
  public mutating func handleProbe(
    _ answer: ProbeEntity.EntityState, at now: Time
  ) -> Action {
    guard state == .awaitingProbe else { return .nothing }
    // An answer from before this request was sent says nothing about it: the timer asks again.
    if id.isNewer(than: answer.transaction) { return .nothing }
    principal = answer.client
    guard answer.transaction == id, answer.isAwaitingResponse else {
      // A late duplicate of a request that its client has long finished.
      state = .discarded
      reception = nil
      if answer.transaction.isNewer(than: id) {
        // The current one may still come; once it is finished, only duplicates of it can.
        id = answer.isAwaitingResponse ? answer.transaction.previous : answer.transaction
      }
      wakeAt = now + Timing.recordKept
      return .nothing
    }
    return deliverOrWait(at: now)
  }

  /// The request went on to another server of this kernel, which will respond.
  public mutating func handleForwardedHere(to target: EntityID) {
    holder = target
    forwardsHere += 1
    forwardCount += 1
  }

  /// The request goes on to a server of another kernel, which will respond to the client.
  ///
  /// This kernel has no timer for it: the client's own repetitions drive those of the forward.
  public mutating func forward(_ request: Message, to target: EntityID, at now: Time) -> Action {
    guard state == .processing else { return .nothing }
    state = .forwarded
    forwarded = (request, target)
    targetAskedAt = now
    wakeAt = now + Timing.orphan
    return .forward(request.blocks, tellsClient: false)
  }

  /// The next server's kernel said what became of the forwarded request.
  public mutating func handleRemoteNotify(_ notify: NotifyClient, at now: Time) -> Action {
    guard state == .forwarded, notify.transaction == id, let forwarded else { return .nothing }
    targetAskedAt = nil
    switch notify.code {
    case .ok: return .nothing
    case .retry:
      let whole = forwarded.request.blocks
      return .forward(whole.subtracting(notify.delivery), tellsClient: false)
    default: return failForward(notify.code, at: now)
    }
  }

  /// The next server will not answer; the client is told so.
  public mutating func failForward(_ code: ReplyCode, at now: Time) -> Action {
    state = .discarded
    forwarded = nil
    wakeAt = now + Timing.recordKept
    return .notifyClient(code, received: [], retransmitCount: retransmitCount)
  }

  public mutating func respond(
    _ response: Message, by server: EntityID, at now: Time
  ) -> Action {
    guard state == .processing else { return .nothing }
    state = .responded
    self.response = response
    responder = server
    wakeAt = now + Timing.responseCheck
    return .respond(response.blocks, acknowledge: false)
  }

  /// The client's kernel said what became of the response.
  public mutating func handleNotify(_ notify: NotifyServer, at now: Time) -> Action {
    guard notify.transaction == id, let response else { return .nothing }
    let whole = response.blocks
    switch notify.code {
    case .retry: return .respond(whole.subtracting(notify.delivery), acknowledge: false)
    case .retryAll: return .respond(whole, acknowledge: false)
    case .busy, .entityMigrated: return .nothing
    default:
      state = .discarded
      self.response = nil
      wakeAt = now + Timing.recordKept
      return .nothing
    }
  }

  /// `isPeerLost`: its kernel has been silent for as long as makes its requests orphans.
  public mutating func handleTimeout(
    at now: Time, roundTrip: RoundTrip, isPeerLost: Bool
  ) -> Action {
    guard wakeAt <= now else { return .nothing }
    if isPeerLost { return .drop }
    switch state {
    case .awaitingProbe:
      probes += 1
      let span = roundTrip.retransmission * (1 << Int64(min(probes, 8)))
      wakeAt = now + min(span, Timing.retransmissionCap)
      return .probe
    case .receiving:
      retries += 1
      // Nobody has sent the rest for so long: a client that still waits repeats its request.
      if retries > Self.retriesMax { return .drop }
      let span = max(Timing.reception, roundTrip.retransmission) * (1 << Int64(min(retries - 1, 8)))
      wakeAt = now + min(span, Timing.retransmissionCap)
      return .notifyClient(
        .retry, received: reception?.received ?? [], retransmitCount: retransmitCount)
    case .forwarded:
      // A client that still waits would have repeated its request.
      return .drop
    case .processing:
      wakeAt = now + Timing.orphan
      return .nothing
    case .responded:
      wakeAt = now + Timing.responseCheck
      return .respond([], acknowledge: true)
    case .discarded:
      return .drop
    }
  }

  /// Starts to take in a request; the last response is thereby acknowledged.
  private mutating func takeUp(_ header: PacketHeader, _ packet: RawSpan, from peer: KernelID) {
    id = header.transaction
    forwardCount = header.forwardCount
    forwardsHere = 0
    holder = .none
    addressee = header.server
    retransmitCount = header.retransmitCount
    responder = .none
    self.peer = peer
    response = nil
    forwarded = nil
    targetAskedAt = nil
    retries = 0
    reception = PacketGroupReception(header)
    _ = reception?.accept(header, packet)
  }

  private mutating func handleRepeated(
    _ header: PacketHeader, _ packet: RawSpan, at now: Time
  ) -> Action {
    retransmitCount = header.retransmitCount
    switch state {
    case .awaitingProbe:
      _ = reception?.accept(header, packet)
      return .nothing
    case .receiving:
      retries = 0
      _ = reception?.accept(header, packet)
      return askForMissing(header, at: now) ?? deliverOrWait(at: now)
    case .processing:
      guard Self.asksAgain(header) else { return .nothing }
      return .notifyClient(
        .ok, received: DeliveryMask(segmentBytes: header.mcb.segmentSize),
        retransmitCount: retransmitCount)
    case .forwarded:
      guard Self.asksAgain(header) else { return .nothing }
      if targetAskedAt == nil { targetAskedAt = now }
      wakeAt = now + Timing.orphan
      return .forward([], tellsClient: true)
    case .responded:
      guard let response, Self.asksAgain(header) else { return .nothing }
      return .respond(response.blocks, acknowledge: false)
    case .discarded:
      guard Self.asksAgain(header) else { return .nothing }
      return .notifyClient(
        .responseDiscarded, received: [], retransmitCount: retransmitCount)
    }
  }

  /// One answer for a repeated group, however many packets it has; none for a stray copy.
  private static func asksAgain(_ header: PacketHeader) -> Bool {
    guard header.retransmitCount > 0 || header.control.contains(.acknowledge) else { return false }
    return header.delivery.isEmpty || header.delivery.rawValue & 1 != 0
  }

  /// A bare header that asks for an acknowledgement while blocks are missing is told which.
  private mutating func askForMissing(_ header: PacketHeader, at now: Time) -> Action? {
    guard let reception, !reception.isComplete, header.delivery.isEmpty,
      header.control.contains(.acknowledge)
    else { return nil }
    wakeAt = now + Timing.reception
    return .notifyClient(
      .retry, received: reception.received, retransmitCount: retransmitCount)
  }

  private mutating func deliverOrWait(at now: Time) -> Action {
    guard let whole = reception.take() else { return .nothing }
    guard whole.isComplete else {
      state = .receiving
      wakeAt = now + (whole.hasHole ? Timing.hole : Timing.reception)
      reception = whole
      return .nothing
    }
    state = .processing
    wakeAt = now + Timing.orphan
    return .deliver(whole.message())
  }
}
