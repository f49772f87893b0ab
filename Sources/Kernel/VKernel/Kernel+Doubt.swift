public import VProtocol
import VTransport

/// Kernels that are asked, a few times in a short while, whether they are at their place.
///
/// One reason is what the network reports: ICMP's "destination unreachable". Anybody can send such
/// a report, so none is believed; only if nothing answers is the kernel silent, long before its
/// time. The other is that another kernel answers from there: then one that does not answer has
/// ended.
extension Kernel {
  /// The network reports that nobody receives packets at a locator.
  public mutating func handleUnreachable(at locator: Locator, _ step: inout Step) {
    guard let kernel = places[locator]?.kernel, let peer = peers[kernel],
      peer.locator == locator, peer.pending > 0, !peer.isSilent,
      peers[kernel]!.noteReport(at: step.now)
    else { return }
    probeDoubted(kernel, at: locator, &step)
  }

  /// Another kernel answers from the place of this one.
  mutating func handleReplaced(_ kernel: KernelID, _ step: inout Step) {
    guard let locator = peers[kernel]?.locator, peers[kernel]!.noteReplaced() else { return }
    probeDoubted(kernel, at: locator, &step)
  }

  private mutating func probeDoubted(
    _ kernel: KernelID, at locator: Locator, _ step: inout Step
  ) {
    guard let peer = peers[kernel], let doubt = peer.doubt else { return }
    let wait = max(Timing.doubt * (1 << Int64(doubt.probes)), peer.roundTrip.retransmission)
    peers[kernel]!.doubt!.probes += 1
    challenge(kernel, at: locator, &step)
    pushTimer(.doubt(kernel), at: step.now + wait)
  }

  /// A doubted kernel has not answered the last probe.
  mutating func handleDoubtTimer(_ kernel: KernelID, _ step: inout Step) {
    guard let peer = peers[kernel], let doubt = peer.doubt, let locator = peer.locator
    else { return }
    guard doubt.probes >= Doubt.probesMax else {
      return probeDoubted(kernel, at: locator, &step)
    }
    if doubt.isReplaced { return handleReboot(of: kernel, at: locator, &step) }
    peers[kernel]!.endDoubt()
    guard peers[kernel]!.isSilent else { return }
    pushTimer(.silence(kernel), at: step.now + Timing.signInterval)
    for entry in peer.waiting.entries where isPending(entry, on: kernel) {
      counters.silentPeers += 1
      finish(entry.client, .retransmissionTimeout, &step)
    }
  }
}
