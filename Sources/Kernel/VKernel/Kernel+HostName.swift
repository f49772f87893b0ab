import VProtocol
public import VTransport

/// Host names: a kernel has one host name, and a host name has one kernel.
///
/// A kernel has the name of its host in every answer to a probe. The first name holds as long as
/// the kernel lives. No other kernel is believed to have the name of this host. If another one had
/// it before this one started (`HostNameConflict`), this one keeps silent.
extension Kernel {
  /// The kernel that has this host's name instead of this one, and where it is; nil as long as this
  /// one has the name.
  ///
  /// While there is one, only probes of managers and answers to probes leave this kernel, and
  /// nothing else is taken in. Local messages go on.
  public var nameHolder: NameHolder? { conflict.holder }

  /// Sends packets; while another kernel has this host's name, only probes.
  func dispatch(_ transmission: Transmission, _ step: inout Step) {
    if conflict.holder != nil && !isAllowedAlone(transmission.header) { return }
    var transmission = transmission
    if case .group = transmission.destination { transmission.copies = copies(at: step.now) }
    step.append(.transmit(transmission))
  }

  private func isAllowedAlone(_ header: PacketHeader) -> Bool {
    switch header.function {
    case .request:
      guard header.client == manager, header.mcb.code == Management.probeEntity,
        let probe = try? ProbeEntity(parsing: Message(header.mcb))
      else { return false }
      return probe.process == .manager(of: probe.process.kernel)
    case .response:
      return header.server == manager && header.client == .manager(of: header.client.kernel)
    }
  }

  /// Whether a packet is taken in: while another kernel has this host's name, only a probe or the
  /// answer to one is.
  func isWanted(_ header: PacketHeader) -> Bool {
    guard conflict.holder != nil else { return true }
    switch header.function {
    case .request:
      return header.mcb.code == Management.probeEntity
        && (header.server == .managerGroup || header.server == manager)
    case .response: return header.client == manager
    }
  }

  /// What is believed of what a kernel says about one of its entities; nil if nothing is.
  ///
  /// The host must be the one of the kernel's first answer, and not this one; host and user must be
  /// names. A server acts for no user: its principal is `@host`.
  mutating func believed(
    _ state: ProbeEntity.EntityState, from peer: KernelID, _ step: inout Step
  ) -> ProbeEntity.EntityState? {
    guard kernel(of: state.entity) == peer, let host = state.host else { return nil }
    if state.entity.kernel != peer { return movedState(state, from: peer) }
    let (known, isNew) = withPeer(peer, at: step.now) { peer in
      defer { if peer.host == nil { peer.host = host } }
      return (peer.host ?? host, peer.host == nil)
    }
    guard known == host else { return nil }
    if isNew { seekEarlierBoots(of: peer, on: host, &step) }
    guard host == self.host else { return state }
    noteNamesake(peer, startedAt: state.startedAt, isNew: isNew, &step)
    return nil
  }

  private mutating func noteNamesake(
    _ kernel: KernelID, startedAt: UInt64, isNew: Bool, _ step: inout Step
  ) {
    guard let locator = peers[kernel]?.locator else { return }
    // It must also hear of this kernel, even if its probe was lost.
    if isNew { challenge(kernel, at: locator, &step) }
    let claimant = HostNameConflict.Claimant(kernel: kernel, startedAt: startedAt)
    perform(conflict.handleAnswer(claimant, from: locator, at: step.now), &step)
  }

  /// Probes the holder of this host's name when it is time to.
  mutating func handleNameTimer(_ step: inout Step) {
    isNameTimerQueued = false
    perform(conflict.handleTimer(at: step.now), &step)
  }

  private mutating func perform(_ action: HostNameConflict.Action, _ step: inout Step) {
    switch action {
    case .nothing: break
    case .yield:
      leaveOthers(&step)
      step.append(.nameHolderChanged(nameHolder))
    case .probe(let kernel, let locator):
      challenge(kernel, at: locator, &step)
    case .resume:
      step.append(.nameHolderChanged(nil))
      announce(&step)
    }
    guard conflict.holder != nil, !isNameTimerQueued else { return }
    isNameTimerQueued = true
    pushTimer(.ownName, at: conflict.wakeAt)
  }

  /// Ends all transactions with other kernels, as if all of them had fallen silent.
  private mutating func leaveOthers(_ step: inout Step) {
    for client in entities.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
      guard case .peer? = entities[client]?.current?.route else { continue }
      finish(client, .retransmissionTimeout, &step)
    }
    for key in records.keys where !isHere(key.client) { dropRecord(key) }
  }

  // MARK: the names of others

  /// Asks a kernel for the name of its host, unless it has answered meanwhile or has ended.
  mutating func handlePeerNameTimer(_ kernel: KernelID, _ step: inout Step) {
    guard let peer = peers[kernel], peer.host == nil, let locator = peer.locator,
      !peer.isLost(at: step.now)
    else { return }
    challenge(kernel, at: locator, &step)
    pushTimer(.peerName(kernel), at: step.now + Self.nameRepetition)
  }

  /// How soon a new kernel is asked for its name: by then its answer to an earlier probe has
  /// usually come.
  static let namePatience = TimeSpan.milliseconds(50)
  /// How soon it is asked again, if the answer was lost.
  static let nameRepetition = TimeSpan.milliseconds(500)
}
