public import VProtocol

/// The record of one remote client: RFC 1045's client state record.
///
/// ```
///            unknown client               whole
///   (start) -----------> awaiting probe   request        respond           acknowledged
///      |                      |          +-------> processing --> responded ----> discarded
///      | known client         v          |             |  ^
///      +----------------> receiving -----+             +--+ repeated request: OK
/// ```
/// A client that has been idle begins its next transaction: the record starts as `discarded`,
/// with the number before it. RFC 1045 6. It filters duplicates: an older request is dropped,
/// an equal one is answered with the kept response, and a newer one acknowledges the last
/// response and takes over the record.
public struct ServerTransaction: Sendable {
  public enum Action: Equatable, Sendable {
    /// Give the whole request to its server.
    case deliver(Message)
    /// Ask the client's kernel for its current transaction and its principal.
    case probe
    case notifyClient(ReplyCode, received: DeliveryMask, retransmitCount: UInt8)
    /// Tell a kernel that forwarded the request, and repeats it, that it has come; the client gets
    /// the kept response, if there is one.
    case notifyForwarder(KernelID, forwardCount: UInt8, retransmitCount: UInt8)
    /// Send the kept response: all blocks, or these.
    case respond(DeliveryMask, acknowledge: Bool)
    /// Send these blocks of the forwarded request to its next server, and tell the client, if it
    /// asked, that its request is being worked on.
    case forward(DeliveryMask, tellsClient: Bool)
    /// Drop this record.
    case drop
    case nothing
  }

  enum State: Sendable {
    case awaitingProbe, receiving, processing, responded, forwarded, discarded
  }

  public let client: EntityID
  public private(set) var id: TransactionID
  public internal(set) var forwardCount: UInt8
  /// The kernel that sent the request: where notifications and the response go.
  public var peer: KernelID
  /// The entity that the request was addressed to.
  public internal(set) var addressee: EntityID
  /// The server that answered, once there is an answer.
  public private(set) var responder: EntityID = .none
  /// It came with its server to a kernel without a record of the client: a newer request may have
  /// been done there.
  var isForeign = false
  /// The client has never been probed, although its record is not new.
  var isUnprobed = false
  /// The client's principal, once probed.
  public internal(set) var principal: Principal?
  public internal(set) var wakeAt: Time
  /// The earliest entry of this record in the timer queue, kept by the kernel.
  public var queuedAt: Time?
  /// A later entry that is still in the queue.
  public var queuedLaterAt: Time?
  /// That of the request, as it was sent.
  public private(set) var priority = Priority.normal
  public private(set) var retransmitCount: UInt8
  var state = State.awaitingProbe
  /// The request so far, while awaiting a probe or receiving.
  var reception: PacketGroupReception?
  /// The response kept for repetition, while responded.
  public internal(set) var response: Message?
  /// The request as it was sent on to another kernel, while forwarded.
  public internal(set) var forwarded: (request: Message, target: EntityID)?
  /// Since when that kernel owes an answer.
  public internal(set) var targetAskedAt: Time?
  /// That kernel has said that it has the request: without its record, it must not take it again.
  public private(set) var isForwardTaken = false
  private var probes = 0
  /// A client that is still there has answered one of so many: about a second.
  private static let probesMax = 12
  /// How often in a row missing blocks were requested without effect.
  private var retries = 0
  private static let retriesMax = 30
  /// How often the client's kernel was asked whether the response came.
  private var checks = 0
  private static let checksMax = 6
  /// The client was told to ask another server, so that what its forwarder asks is out of date.
  private var isSentOn = false
  /// The request is a datagram, which is not answered.
  private var isDatagram = false
  /// The request asks its server's kernel to wait a short random time (DRT).
  public private(set) var isDelayed = false
  /// The client's kernel has ended; what became of the request is kept for its successor.
  private var isClientGone = false
  /// How often one server of this kernel passed the request to another.
  var forwardsHere: UInt8 = 0
  /// The server of this kernel that the request was forwarded to; `none` before that.
  public internal(set) var holder: EntityID = .none

  /// A request of a client without a record.
  ///
  /// It needs the client's principal and current transaction first.
  public init(_ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time) {
    self.init(client: header.client, header.transaction, from: peer, at: now)
    takeUp(header, packet, from: peer)
  }

  init(client: EntityID, _ id: TransactionID, from peer: KernelID, at now: Time) {
    self.client = client
    self.id = id
    self.peer = peer
    forwardCount = 0
    addressee = .none
    retransmitCount = 0
    wakeAt = now
  }

  /// The record of a client that has begun a transaction before it sends the request.
  public init(_ begin: BeginTransaction, from peer: KernelID, at now: Time) {
    self.init(client: begin.client, begin.transaction.previous, from: peer, at: now)
    state = .discarded
    principal = begin.state.client
    wakeAt = now + Timing.begunKept
  }

  /// Its client begins a transaction: whatever was before it is over.
  public mutating func handleBegin(_ begin: BeginTransaction, at now: Time) {
    guard begin.transaction.isNewer(than: id) else { return }
    isForeign = false
    // A server that still works goes on; the request will end that.
    guard state == .responded || state == .discarded else { return }
    principal = begin.state.client
    response = nil
    state = .discarded
    id = begin.transaction.previous
    wakeAt = now + Timing.begunKept
  }

  /// The client's kernel has ended, and perhaps has a successor; false if there is nothing to keep.
  public mutating func handleClientEnded(successor: KernelID, at now: Time) -> Bool {
    switch state {
    case .processing, .responded, .discarded: break
    case .awaitingProbe, .receiving, .forwarded: return false
    }
    isClientGone = true
    peer = successor
    wakeAt = now + Timing.outcomeKept
    return true
  }

  /// The answer to a successor of the client's kernel that asks what became of a request.
  public mutating func outcome(of transaction: TransactionID) -> Message {
    guard isClientGone else { return Message(reply: .outcomeUnknown) }
    if transaction.isNewer(than: id), state != .processing {
      // It has not come, and will not be taken any more.
      id = transaction
      state = .discarded
      return Message(reply: .nonexistentEntity)
    }
    guard transaction == id else { return Message(reply: .outcomeUnknown) }
    if state == .processing { return Message(reply: .busy) }
    return response ?? Message(reply: .outcomeUnknown)
  }

  /// Its client has exchanged a message with a server that needs no record: the record stays as
  /// long as the client counts on it.
  public mutating func touch(at now: Time) {
    if state == .discarded { wakeAt = max(wakeAt, now + Timing.begunKept) }
  }

  public var isAwaitingProbe: Bool { state == .awaitingProbe }
  public var isProcessing: Bool { state == .processing }
  /// Whether its server has not been given the request yet, or works on it.
  public var isOpen: Bool { state == .processing || state == .receiving || state == .awaitingProbe }
  /// Whether a packet has something new: a newer request, or missing blocks of this one.
  public func isMissing(_ header: PacketHeader) -> Bool {
    if header.transaction != id { return header.transaction.isNewer(than: id) }
    guard let reception else { return false }
    return !reception.received.contains(header.delivery)
  }

  /// Whether the client has its response, or does not want it any more: the record may be dropped.
  public var isDiscarded: Bool { state == .discarded }
  /// The request for `server`.
  public func request(_ message: Message, for server: EntityID) -> Request {
    Request(
      client: client, transaction: id, addressee: addressee, server: server,
      forwardCount: forwardCount, message: message, principal: principal, isLocal: false,
      priority: priority.onOtherHost)
  }

  /// Asks for the first probe.
  public mutating func start(at now: Time, roundTrip: RoundTrip) -> Action {
    wakeAt = now + roundTrip.retransmission
    return .probe
  }

  /// A packet of a request from a client with this record, which is on `clientKernel`, if not on
  /// that of its id.
  public mutating func handleRequest(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, clientKernel: KernelID? = nil,
    at now: Time
  ) -> Action {
    if header.transaction == id {
      // Its client still waits for this one, and has sent none after it.
      isForeign = false
      if header.forwardCount < forwardCount - forwardsHere {
        // It has been forwarded back since: the client, which knows only this kernel, asks again.
        guard header.forwardCount == 0 || peer == clientKernel ?? client.kernel else {
          return handleForwarder(header, peer, at: now)
        }
        guard reception == nil, state != .discarded else { return .nothing }
        self.peer = peer
      }
      if header.forwardCount <= forwardCount {
        return handleRepeated(header, packet, from: peer, at: now)
      }
    } else if !header.transaction.isNewer(than: id) {
      return .nothing
    }
    takeUp(header, packet, from: peer)
    // The answer to a probe under way is about this newer request as well.
    if state == .awaitingProbe { return .nothing }
    if isUnprobed {
      (state, isUnprobed, wakeAt) = (.awaitingProbe, false, now + Timing.beforeAnySample)
      return .probe
    }
    state = .receiving
    return askForMissing(header, at: now) ?? deliverOrWait(at: now)
  }

  /// The kernel that forwarded the request here before it was forwarded back repeats it: without
  /// this record, or unless it is told, it would be taken anew.
  private mutating func handleForwarder(
    _ header: PacketHeader, _ peer: KernelID, at now: Time
  ) -> Action {
    guard Self.asksAgain(header) else { return .nothing }
    if state == .responded { (checks, wakeAt) = (0, now + Timing.orphan) }
    return .notifyForwarder(
      peer, forwardCount: header.forwardCount, retransmitCount: header.retransmitCount)
  }

  /// The client's kernel answered a probe.
  public mutating func handleProbe(
    _ answer: ProbeEntity.EntityState, at now: Time
  ) -> Action {
    guard state == .awaitingProbe else { return .nothing }
    // An answer from before this request was sent is not about it: the timer probes again.
    if id.isNewer(than: answer.transaction) { return .nothing }
    principal = answer.client
    guard answer.transaction == id, answer.isAwaitingResponse || isDatagram else {
      // A late duplicate of a request that its client finished long ago.
      state = .discarded
      reception = nil
      if answer.transaction.isNewer(than: id) {
        // The current request may still arrive; once it is finished, only duplicates of it can.
        id = answer.isAwaitingResponse ? answer.transaction.previous : answer.transaction
      }
      wakeAt = now + Timing.recordKept
      return .nothing
    }
    return deliverOrWait(at: now)
  }

  /// The client is about to move to another kernel: it has not ended, and is asked again.
  public mutating func handleProbeBusy() { probes = 0 }

  /// The request was forwarded to another server of this kernel, which will respond.
  public mutating func handleForwardedHere(to target: EntityID) {
    holder = target
    forwardsHere += 1
    forwardCount += 1
  }

  /// The request is forwarded to a server of another kernel, which will respond to the client.
  ///
  /// This kernel has no timer for it: the client's own retransmissions cause those of the forward.
  public mutating func forward(_ request: Message, to target: EntityID, at now: Time) -> Action {
    guard state == .processing else { return .nothing }
    state = .forwarded
    forwarded = (request, target)
    isForwardTaken = false
    targetAskedAt = now
    wakeAt = now + Timing.orphan
    return .forward(request.blocks, tellsClient: false)
  }

  /// The client, which is of this kernel, asks the next server itself: only duplicates still come.
  public mutating func sendOn(at now: Time) {
    isUnprobed = isUnprobed || state == .awaitingProbe
    state = .discarded
    isSentOn = true
    wakeAt = now + Timing.recordKept
  }

  /// The next server's kernel sent the state of the forwarded request.
  public mutating func handleRemoteNotify(_ notify: NotifyClient, at now: Time) -> Action {
    guard state == .forwarded, notify.transaction == id, let forwarded else { return .nothing }
    targetAskedAt = nil
    switch notify.code {
    case .ok:
      isForwardTaken = true
      return .nothing
    case .busy: return .nothing
    case .retry:
      isForwardTaken = true
      let whole = forwarded.request.blocks
      return .forward(whole.subtracting(notify.delivery), tellsClient: false)
    case .entityMigrated:
      targetAskedAt = now
      return .forward(forwarded.request.blocks, tellsClient: false)
    default: return failForward(notify.code, at: now)
    }
  }

  /// The next server will not answer; the client is sent the code.
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
    if isClientGone { return .nothing }
    wakeAt = now + Timing.responseCheck
    return .respond(response.blocks, acknowledge: false)
  }

  /// The client's kernel sent the state of the response.
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

  /// `isPeerLost`: its kernel has been silent for so long that its requests are orphans.
  public mutating func handleTimeout(
    at now: Time, roundTrip: RoundTrip, isPeerLost: Bool
  ) -> Action {
    guard wakeAt <= now else { return .nothing }
    if isPeerLost || isClientGone { return .drop }
    switch state {
    case .awaitingProbe:
      probes += 1
      if probes > Self.probesMax { return .drop }
      let span = roundTrip.retransmission * (1 << Int64(min(probes, 8)))
      wakeAt = now + min(span, Timing.retransmissionCap)
      return .probe
    case .receiving:
      if isDatagram { return takePart(at: now) }
      retries += 1
      // The rest has not come for long: a client that still waits repeats its request.
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
      checks += 1
      if checks > Self.checksMax { return .drop }
      wakeAt = now + Timing.responseCheck
      return .respond([], acknowledge: true)
    case .discarded:
      return .drop
    }
  }

  /// Starts to receive a request; that acknowledges the last response.
  private mutating func takeUp(_ header: PacketHeader, _ packet: RawSpan, from peer: KernelID) {
    let old = self
    self = ServerTransaction(client: client, header.transaction, from: peer, at: old.wakeAt)
    (state, isUnprobed, principal) = (old.state, old.isUnprobed, old.principal)
    (queuedAt, queuedLaterAt) = (old.queuedAt, old.queuedLaterAt)
    forwardCount = header.forwardCount
    addressee = header.server
    priority = header.priority
    retransmitCount = header.retransmitCount
    isDatagram = header.mcb.flags.contains(.datagram)
    isDelayed = header.control.contains(.delayResponse)
    reception = PacketGroupReception(header)
    _ = reception?.accept(header, packet)
  }

  private mutating func handleRepeated(
    _ header: PacketHeader, _ packet: RawSpan, from peer: KernelID, at now: Time
  ) -> Action {
    retransmitCount = header.retransmitCount
    self.peer = peer
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
      // Without its record the request would be done again: it stays while a forwarder asks, also
      // if the client's kernel is not heard here.
      checks = 0
      if header.forwardCount > 0 { wakeAt = now + Timing.orphan }
      return .respond(response.blocks, acknowledge: false)
    case .discarded:
      guard Self.asksAgain(header), !isSentOn else { return .nothing }
      return .notifyClient(
        .responseDiscarded, received: [], retransmitCount: retransmitCount)
    }
  }

  /// So a repeated group is answered once, however many packets it has, and a stray copy never.
  private static func asksAgain(_ header: PacketHeader) -> Bool {
    guard header.retransmitCount > 0 || header.control.contains(.acknowledge) else { return false }
    return header.delivery.isEmpty || header.delivery.rawValue & 1 != 0
  }

  /// A bare header asks for an acknowledgement while blocks are missing: it is answered with which.
  private mutating func askForMissing(_ header: PacketHeader, at now: Time) -> Action? {
    guard let reception, !reception.isComplete, header.delivery.isEmpty,
      header.control.contains(.acknowledge)
    else { return nil }
    wakeAt = now + Timing.reception
    return .notifyClient(
      .retry, received: reception.received, retransmitCount: retransmitCount)
  }

  /// The rest of a datagram is not sent again: its server gets the part that came, if that is of
  /// use.
  private mutating func takePart(at now: Time) -> Action {
    let part = reception.take()
    state = .discarded
    wakeAt = now + Timing.recordKept
    guard let part, part.isUsefulInPart else { return .nothing }
    return .deliver(part.message())
  }

  private mutating func deliverOrWait(at now: Time) -> Action {
    guard let whole = reception.take() else { return .nothing }
    guard whole.isComplete else {
      state = .receiving
      wakeAt = now + (whole.hasHole ? Timing.hole : Timing.reception)
      reception = whole
      return .nothing
    }
    state = isDatagram ? .discarded : .processing
    wakeAt = now + (isDatagram ? Timing.recordKept : Timing.orphan)
    return .deliver(whole.message())
  }
}
