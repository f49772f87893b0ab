public import VProtocol
import VTransport

/// The entry for packets.
extension Kernel {
  /// Takes in one valid packet.
  ///
  /// `header` has been parsed from `packet`; `sender` is the kernel that sealed it, nil for a clear
  /// packet, whose sender is the kernel of its client or server. `isMulticast` if it came to the
  /// address of a group.
  public mutating func handlePacket(
    _ packet: RawSpan, _ header: PacketHeader, from locator: Locator, sender: KernelID?,
    isMulticast: Bool = false, _ step: inout Step
  ) {
    guard let peer = sender ?? clearSender(header, locator), peer != id else { return ignore() }
    if header.packetFlags.contains(.multicast) {
      noteMulticast(of: peer, header, isCopy: !isMulticast, at: step.now)
    }
    // A multicast may be an old one, repeated by a stranger without a key: it does not tell where
    // its kernel is until that has answered under the key of this pair.
    if sender != nil, header.packetFlags.contains(.multicast), peers[peer]?.locator != locator {
      guard isElsewhere(peer, header, at: locator, &step) else {
        return meet(peer, header, at: locator, &step)
      }
    } else {
      handleHeard(peer, header, at: locator, isSealed: sender != nil, &step)
    }
    guard isWanted(header) else { return ignore() }
    switch header.function {
    case .request:
      handleRequest(header, packet, from: peer, isSealed: sender != nil, &step)
    case .response: handleResponse(header, packet, from: peer, &step)
    }
  }

  /// Counts a packet that has no effect.
  mutating func ignore() { counters.packetsIgnored += 1 }

  /// The sender of a clear packet: the kernel of its client or server, or, for a forwarded request,
  /// the kernel last heard at its locator.
  private func clearSender(_ header: PacketHeader, _ locator: Locator) -> KernelID? {
    if header.function == .response { return kernel(of: header.server) }
    return header.forwardCount == 0 ? kernel(of: header.client) : places[locator]?.kernel
  }

  /// A packet came that cannot be opened, because nothing of its sender has been opened before: the
  /// sender is probed under the group key, so that it can answer if it is a kernel.
  public mutating func handleUnopened(
    from kernel: KernelID, at locator: Locator, _ step: inout Step
  ) {
    guard kernel != id, strangers.take(at: step.now) else { return }
    challenge(kernel, at: locator, &step)
  }

  /// A multicast came from a locator where its kernel is not known to be.
  ///
  /// If it is a probe of this very kernel, its sender can open packets under the key of the pair,
  /// so the answer and a probe back go under that key; that ends the exchange, however often
  /// packets cross.
  private mutating func meet(
    _ kernel: KernelID, _ header: PacketHeader, at locator: Locator, _ step: inout Step
  ) {
    guard header.function == .request, header.server == .managerGroup,
      header.mcb.code == Management.probeEntity, !header.mcb.flags.contains(.datagram),
      let probe = try? ProbeEntity(parsing: Message(header.mcb)), probe.process == manager
    else { return challenge(kernel, at: locator, &step) }
    answerProbe(header, from: kernel, at: locator, &step)
    askBack(kernel, at: locator, &step)
  }
}
