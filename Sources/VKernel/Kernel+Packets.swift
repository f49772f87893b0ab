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
    // A sealed multicast may be an old one, repeated by who has no key: it does not say where its
    // kernel is before that has answered under the key of this pair.
    if sender != nil, header.packetFlags.contains(.multicast), peers[peer]?.locator != locator {
      return challenge(peer, at: locator, &step)
    }
    handleHeard(peer, at: locator, &step)
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
}
