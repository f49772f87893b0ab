public import VProtocol

/// Records of servers and clients that move to another kernel.
extension ServerTransaction {
  /// The record of a request between two entities of one kernel, of which one moves: the server
  /// works on it.
  public init(
    client: EntityID, _ id: TransactionID, forwardCount: UInt8, server: EntityID,
    principal: Principal?, from peer: KernelID, at now: Time
  ) {
    self.init(client: client, id, from: peer, at: now)
    self.forwardCount = forwardCount
    addressee = server
    self.principal = principal
    state = .processing
    wakeAt = now + Timing.orphan
  }

  /// Whether the record goes where `server` goes: that has the request, or its answer is kept.
  ///
  /// What another server answered stays with the kernel that was asked.
  public func goes(with server: EntityID, heldBy holder: EntityID) -> Bool {
    switch state {
    case .awaitingProbe, .receiving, .processing: holder == server
    case .responded: addressee == server && responder == server
    case .forwarded, .discarded: false
    }
  }

  /// What is left of it here when it has gone with `server`: it filters duplicates.
  ///
  /// If another server of this kernel had forwarded the request, this kernel is its forwarder now.
  public mutating func leave(with server: EntityID, at now: Time) {
    response = nil
    reception = nil
    guard state == .processing, holder == server, addressee != server else {
      isUnprobed = isUnprobed || state == .awaitingProbe
      state = .discarded
      wakeAt = now + Timing.recordKept
      return
    }
    state = .forwarded
    forwarded = (Message(MessageControlBlock()), server)
    forwardCount -= 1
    forwardsHere -= 1
    holder = .none
    targetAskedAt = nil
    wakeAt = now + Timing.orphan
  }

  /// Whether it knows more of a request than its client, which has come to this kernel: the client
  /// may have been told by a server that the request was forwarded to from here.
  public func isAhead(of current: ClientTransaction) -> Bool {
    guard state != .discarded else { return false }
    return forwardCount + (state == .forwarded ? 1 : 0) >= current.heldForwardCount
  }

  /// Whether it says nothing about a request.
  public func isUnknown(_ header: PacketHeader) -> Bool {
    isForeign && header.transaction.isNewer(than: id)
  }

  /// It has come with its server to a kernel that has a record of the client already, or none;
  /// false if that one is the newer.
  public mutating func replace(_ known: ServerTransaction?) -> Bool {
    isForeign = known?.isForeign ?? true
    guard let known else { return true }
    if known.id == id {
      if known.state == .discarded { return true }
      guard known.state == .forwarded, known.forwardCount < forwardCount else { return false }
      // The client goes on to ask for it at the server that forwarded it here.
      forwardsHere = forwardCount - known.forwardCount
      peer = known.peer
      return true
    }
    return id.isNewer(than: known.id)
  }

  /// It goes on at a kernel whose clock is ahead by `span`.
  public mutating func shift(by span: TimeSpan) {
    wakeAt = wakeAt + span
    targetAskedAt = targetAskedAt.map { $0 + span }
    (queuedAt, queuedLaterAt) = (nil, nil)
  }
}
