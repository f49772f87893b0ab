public import VProtocol

/// One message transaction as its client sees it: a request out, a response back.
///
/// ```
///            begun with            send            response packet
///   (start) -------> beginning ---------> awaiting -------------> receiving response
///      |                                  |   ^  |                 |        |
///      +----------------------------------+---+  | whole           | whole  | timeout:
///        exchanged    timeout: header + APG      v response        v        | RETRY
///        lately                               complete <-----------+--------+
/// ```
/// RFC 1045 5. Call its `handle` methods for each event; carry out the action that they return. It
/// ends with a whole response, with a code, or when its kernel finds the peer silent; never after a
/// count. The times are in `Timing` (`RoundTrip.swift`).
public struct ClientTransaction: Sendable {
  public enum Action: Equatable, Sendable {
    /// Send the request with these blocks; with `acknowledge` the server must confirm its arrival.
    /// While `isBeginning`, begin the transaction at the server's kernel instead.
    case transmit(DeliveryMask, acknowledge: Bool)
    /// Tell the server's kernel which blocks of its response have arrived.
    case notifyServer(DeliveryMask, ReplyCode)
    case complete(Message, server: EntityID)
    /// One member's response to a request that wants all of them; the transaction goes on.
    case collect(Message, server: EntityID)
    case fail(ReplyCode)
    case nothing
  }

  /// How a kernel reaches the server or the group that was asked.
  public enum Route: Equatable, Sendable {
    /// On this kernel: no packet.
    case local
    /// On all kernels that have members of the group.
    case multicast
    /// On one other kernel.
    case peer(KernelID)
  }

  public let id: TransactionID
  public private(set) var server: EntityID
  /// Where the request goes.
  public private(set) var route: Route
  public let request: Message
  /// Times that the request was forwarded before it left this kernel.
  public private(set) var forwardCount: UInt8
  public let priority: Priority
  public private(set) var startedAt: Time
  /// The local server that has the request now, after forwards inside this kernel.
  public var holder: EntityID
  /// When the user's time limit ends it.
  public private(set) var limit: Time?
  public private(set) var retransmitCount: UInt8 = 0
  /// The server's kernel must know of the transaction before the request is sent: it may have no
  /// record of the client, and then takes no request that was sent before.
  public private(set) var isBeginning: Bool
  /// A server may have the request.
  public private(set) var wasSent: Bool
  /// When `handleTimeout` wants to be called to retransmit.
  public private(set) var repeatAt: Time
  public private(set) var transmittedAt: Time
  private var reception: PacketGroupReception?
  /// How often in a row missing blocks were requested without effect, and what had arrived then.
  private var retries = 0
  private var receivedAtRetry: DeliveryMask = []
  /// Members that have answered, where the responses of all are wanted.
  private var answered: Set<EntityID>?
  /// Over how long the responses of all are to be spread.
  private let spread: TimeSpan?
  /// Parts of the responses of the others.
  private var others: [EntityID: PacketGroupReception] = [:]
  /// How often in a row the server answered that it is working.
  private var pings = 0
  /// Retransmissions since the server's kernel was last heard.
  private var silentAttempts = 0
  /// The transmission that the server's kernel answered last.
  private var echoed: UInt8?

  public init(
    id: TransactionID, server: EntityID, route: Route = .multicast, request: Message,
    limit: Time?, forwardCount: UInt8 = 0, begins: Bool = false, collects: Bool = false,
    spread: TimeSpan? = nil, priority: Priority = .normal, at now: Time, roundTrip: RoundTrip
  ) {
    self.id = id
    self.server = server
    holder = server
    self.route = route
    self.request = request
    self.limit = limit
    self.forwardCount = forwardCount
    isBeginning = begins
    wasSent = !begins
    answered = collects ? [] : nil
    self.spread = collects ? spread : nil
    self.priority = priority
    startedAt = now
    transmittedAt = now
    repeatAt = now
    repeatAt = now + (collects ? collection : roundTrip.firstRetransmission)
  }

  /// Whether a response packet belongs to this transaction: a single server must answer itself,
  /// unless the request was forwarded.
  public func isAnswered(by header: PacketHeader) -> Bool {
    header.transaction == id
      && (server == header.server || server.isGroup || header.forwardCount > 0)
  }

  /// The server that answers, once a part of the response has come.
  public var responder: EntityID? { reception?.header.server }

  /// The request to send: the header of every packet, and the segment that has the blocks.
  public func outgoing(
    of client: EntityID, acknowledge: Bool
  ) -> (header: PacketHeader, segment: [UInt8], route: Route) {
    var header = PacketHeader(
      function: .request, client: client, transaction: id, server: server, mcb: request.mcb)
    header.retransmitCount = retransmitCount
    header.forwardCount = forwardCount
    header.priority = priority
    if acknowledge { header.control.insert(.acknowledge) }
    if spread != nil { header.control.insert(.delayResponse) }
    return (header, request.segment, route)
  }

  /// The times at which it needs attention next.
  public var schedule: (route: Route, repeatAt: Time, limit: Time?, startedAt: Time) {
    (route, repeatAt, limit, startedAt)
  }

  public mutating func handleTimeout(at now: Time, roundTrip: RoundTrip) -> Action {
    if let limit, limit <= now { return .fail(.userTimeout) }
    guard repeatAt <= now else { return .nothing }
    if let reception {
      if isTakenInPart(reception) {
        self.reception = nil
        return .complete(reception.message(), server: reception.header.server)
      }
      repeatAt = now + max(Timing.reception, roundTrip.retransmission)
      retries = reception.received == receivedAtRetry ? retries + 1 : 1
      receivedAtRetry = reception.received
      if retries <= Self.retriesMax { return .notifyServer(reception.received, .retry) }
      // A server that keeps no response ignores that: the request asks for it again.
      self.reception = nil
      retries = 0
    }
    silentAttempts += 1
    // Which members of a group are missing is unknown: all are asked again, and repeat their
    // answers.
    let (first, cap) =
      answered == nil
      ? (roundTrip.retransmission, Timing.retransmissionCap)
      : (collection, Timing.collectionCap)
    repeatAt = now + doubled(first, silentAttempts, cap)
    return countTransmission(.transmit([], acknowledge: true), at: now)
  }

  /// When a group is asked again, at first: not before its answers may have come.
  private var collection: TimeSpan {
    Timing.collection + (spread ?? TimeSpan(nanoseconds: 0))
  }

  /// Whether the rest of a response is left to the client: it asked for some blocks, and the server
  /// keeps no response that could be asked for the others.
  private func isTakenInPart(_ response: PacketGroupReception) -> Bool {
    request.mcb.delivery != nil && response.isUsefulInPart
      && response.header.mcb.flags.contains(.idempotent)
  }

  /// A packet of the response; the caller has matched client, transaction and server.
  public mutating func handleResponse(
    _ header: PacketHeader, _ packet: RawSpan, at now: Time, roundTrip: inout RoundTrip
  ) -> Action {
    if answered != nil { return collect(header, packet) }
    if reception == nil || reception?.header.server != header.server {
      sample(header.retransmitCount, at: now) { roundTrip.addResponseSample($0) }
      reception = PacketGroupReception(header)
    }
    guard var group = reception.take() else { return .nothing }
    guard group.accept(header, packet) else {
      reception = group
      return .nothing
    }
    if group.isComplete { return .complete(group.message(), server: header.server) }
    let wait = group.hasHole ? Timing.hole : Timing.reception
    repeatAt = now + wait
    reception = group
    return .nothing
  }

  /// Takes one response of each member, however often it comes.
  private mutating func collect(_ header: PacketHeader, _ packet: RawSpan) -> Action {
    guard answered?.contains(header.server) == false else { return .nothing }
    var part = others.removeValue(forKey: header.server) ?? PacketGroupReception(header)
    _ = part.accept(header, packet)
    guard part.isComplete else {
      others[header.server] = part
      return .nothing
    }
    return note(part.message(), by: header.server)
  }

  /// A response of a member on this host, without packets.
  public mutating func handleLocalResponse(_ message: Message, by server: EntityID) -> Action {
    guard let answered else { return .complete(message, server: server) }
    return answered.contains(server) ? .nothing : note(message, by: server)
  }

  /// Responses beyond the bound are dropped, as if lost.
  private mutating func note(_ message: Message, by server: EntityID) -> Action {
    guard let count = answered?.count, count < Self.responsesMax else { return .nothing }
    answered?.insert(server)
    return .collect(message, server: server)
  }

  private static let retriesMax = 3
  /// Members of one group whose responses are told apart: more than a cluster has hosts.
  static let responsesMax = 4096

  /// Whether an acknowledgement answers a transmission that none before it answered.
  ///
  /// A server's kernel that does not hear this one any more may still ask for missing blocks.
  public mutating func isNews(_ notify: NotifyClient) -> Bool {
    defer { echoed = notify.retransmitCount }
    return echoed != notify.retransmitCount
  }

  /// The server's kernel sent the state of the request.
  public mutating func handleNotify(
    _ notify: NotifyClient, at now: Time, roundTrip: inout RoundTrip
  ) -> Action {
    guard reception == nil, answered == nil else { return .nothing }
    sample(notify.retransmitCount, at: now) { roundTrip.addNetworkSample($0) }
    silentAttempts = 0
    switch notify.code {
    case .ok where isBeginning:
      // It has the request already, from before its server came there.
      (isBeginning, wasSent) = (false, true)
      repeatAt = now + roundTrip.firstRetransmission
      return countTransmission(.transmit([], acknowledge: true), at: now)
    case .ok, .busy:
      // It has taken nothing, and had no room to remember that: the request must be announced.
      if notify.code == .busy && retransmitCount == 0 { isBeginning = true }
      pings += 1
      repeatAt = now + doubled(roundTrip.firstRetransmission, pings, Timing.pingCap)
      return .nothing
    case .retry:
      pings = 0
      repeatAt = now + roundTrip.firstRetransmission
      let missing = request.blocks.subtracting(notify.delivery)
      return countTransmission(.transmit(missing, acknowledge: false), at: now)
    case .retryAll:
      guard isBeginning else { return sendAnew(at: now, roundTrip: roundTrip) }
      (isBeginning, wasSent) = (false, true)
      (retransmitCount, pings, echoed) = (0, 0, nil)
      transmittedAt = now
      repeatAt = now + roundTrip.firstRetransmission
      return .transmit(request.blocks, acknowledge: false)
    default: return .fail(notify.code)
    }
  }

  /// The server's kernel has been found, or has no part of the request: it is sent whole.
  public mutating func sendAnew(at now: Time, roundTrip: RoundTrip) -> Action {
    repeatAt = now + roundTrip.firstRetransmission
    return countTransmission(.transmit(request.blocks, acknowledge: false), at: now)
  }

  /// The server is on another kernel than was asked: the request goes there.
  ///
  /// With `isVouched` the kernel that was asked has not taken it, and will not, so it is begun at
  /// the other one. Without that only a kernel with a record of the client takes it. `holder`, if
  /// it is not the server that was asked, was given the request by that one.
  public mutating func redirect(
    to route: Route, holder: EntityID, isVouched: Bool, at now: Time, roundTrip: RoundTrip
  ) -> Action {
    self.route = route
    self.holder = holder
    (server, forwardCount) = (holder, heldForwardCount)
    if isVouched { (isBeginning, wasSent) = (true, false) }
    reception = nil
    (retries, pings, silentAttempts, echoed) = (0, 0, 0, nil)
    return sendAnew(at: now, roundTrip: roundTrip)
  }

  /// The ForwardCount of the request as its holder has it, and is asked for it again.
  public var heldForwardCount: UInt8 { holder == server ? forwardCount : max(1, forwardCount) }

  /// No server has been given the request after all.
  public mutating func takeBack() { wasSent = false }

  /// It is known where it goes only when it is redirected.
  public mutating func forgetRoute() { route = .local }

  /// Its client goes on at another kernel, whose clock is ahead by `span`.
  public mutating func shift(by span: TimeSpan) {
    startedAt = startedAt + span
    limit = limit.map { $0 + span }
    repeatAt = repeatAt + span
    transmittedAt = transmittedAt + span
  }

  private mutating func countTransmission(_ action: Action, at now: Time) -> Action {
    // Never 0 again: that is the first transmission, which alone a server without a record takes.
    retransmitCount = retransmitCount % 7 + 1
    transmittedAt = now
    return action
  }

  private func sample(_ count: UInt8, at now: Time, _ add: (TimeSpan) -> Void) {
    if count == retransmitCount { add(now - transmittedAt) }
  }

  private func doubled(_ span: TimeSpan, _ times: Int, _ cap: TimeSpan) -> TimeSpan {
    min(span * (1 << Int64(min(times, 16))), cap)
  }
}
