import VProtocol
import VTransport

/// Kernels of hosts that have several addresses, or others than before.
extension Kernel {
  /// Whether a multicast from `locator` is to be taken in although its kernel is not there.
  ///
  /// A host sends its multicasts on all its networks, and the first copy to arrive may have come by
  /// another one than its other packets. It is answered at the kernel's own place, is no sign of
  /// life, and moves nobody.
  mutating func isElsewhere(
    _ kernel: KernelID, _ header: PacketHeader, at locator: Locator, _ step: inout Step
  ) -> Bool {
    guard header.server != .managerGroup, let peer = peers[kernel], peer.locator != nil
    else { return false }
    if peer.placedAt + Timing.placed <= step.now, peer.mayBeChallenged(at: step.now) {
      challenge(kernel, at: locator, &step)
    }
    return true
  }

  /// Asks on all networks for a kernel that was found before, but does not answer now, and for a
  /// server that may have moved from there.
  mutating func seekElsewhere(_ kernel: KernelID, for server: EntityID, _ step: inout Step) {
    guard let peer = peers[kernel], peer.locator != nil,
      peer.silentAt(since: wokeAt) + Timing.search <= step.now + Timing.silence
    else { return }
    let interval = peer.isSilent ? Timing.slowSearch : Timing.search
    if let asked = peer.askedAt, step.now < asked + interval { return }
    locate(.manager(of: kernel), &step)
    if Self.isMovable(server) { seek(server, &step) }
  }

  /// Asks on all networks for a client whose request another kernel forwarded.
  ///
  /// It, or its kernel, may have moved since this one heard it, and only the forwarder knows where.
  mutating func seekClient(of record: ServerTransaction, _ step: inout Step) {
    let kernel = kernel(of: record.client)
    guard record.peer != kernel, kernel != id, let peer = peers[kernel],
      max(peer.heardAt, peer.askedAt ?? peer.heardAt) + Timing.search <= step.now
    else { return }
    locate(Self.isMovable(record.client) ? record.client : .manager(of: kernel), &step)
  }

  /// Asks for a kernel, whose host is known now, where another kernel of that host was.
  ///
  /// If it answers there too, the other has ended.
  mutating func seekEarlierBoots(of kernel: KernelID, on host: String, _ step: inout Step) {
    let own = peers[kernel]?.locator
    let earlier = peers.entries.filter { other, peer in
      other != kernel && peer.host == host && peer.locator != nil && peer.locator != own
    }
    // The last one is enough: those before it have ended.
    let last = earlier.max { $0.value.heardAt < $1.value.heardAt }
    if let place = last?.value.locator { challenge(kernel, at: place, &step) }
  }
}
