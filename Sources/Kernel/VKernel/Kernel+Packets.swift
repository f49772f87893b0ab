public import VProtocol
public import VTransport

/// Where packets enter.
extension Kernel {
  /// Takes in one sound packet.
  ///
  /// `header` has been parsed from `packet`; `sender` is the kernel that sealed it, nil for a
  /// clear packet, whose sender is the kernel of the entity that speaks.
  public mutating func handlePacket(
    _ packet: RawSpan, _ header: PacketHeader, from locator: Locator, sender: KernelID?,
    _ step: inout Step
  ) {
    guard let peer = sender ?? clearSender(header, locator), peer != id else {
      counters.packetsIgnored += 1
      return
    }
    // What is sealed for all may be old, repeated by who has no key: it does not say where its
    // kernel is before that has answered under the key of this pair.
    if sender != nil, header.packetFlags.contains(.multicast), peers[peer]?.locator != locator {
      return meet(peer, header, at: locator, &step)
    }
    handleHeard(peer, at: locator, isSealed: sender != nil, &step)
    guard isWanted(header) else {
      counters.packetsIgnored += 1
      return
    }
    switch header.function {
    case .request: handleRequest(header, packet, from: peer, &step)
    case .response: handleResponse(header, packet, from: peer, &step)
    }
  }

  /// Whose a clear packet is: the speaking entity's kernel, or, for a request that somebody
  /// forwarded, the kernel last heard at its locator.
  private func clearSender(_ header: PacketHeader, _ locator: Locator) -> KernelID? {
    if header.function == .response { return header.server.kernel }
    return header.forwardCount == 0 ? header.client.kernel : places[locator]?.kernel
  }

  /// A packet came that no key opens, since nothing of its sender has been opened before: asked
  /// under the key of the group, it can answer, if it is a kernel at all.
  public mutating func handleUnopened(
    from kernel: KernelID, at locator: Locator, _ step: inout Step
  ) {
    guard kernel != id, strangers.take(at: step.now) else { return }
    challenge(kernel, at: locator, &step)
  }

  /// Something that was sealed for all came from where its kernel is not known to be.
  ///
  /// Who asks for this very kernel expects its answer, and so its question, under the key of the
  /// pair; that ends the exchange, however often packets cross.
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
