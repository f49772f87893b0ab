public import VProtocol
import VTransport

/// Networks that do not carry multicast: a message to a group also goes, singly, to each kernel
/// that it would not reach.
///
/// A kernel that gets both takes the first and refuses the second, by its packet number or by its
/// transaction.
extension Kernel {
  /// From now on each multicast also goes to these places, whether or not it reaches them.
  public mutating func setPeers(_ places: [Locator]) { configured = places }

  /// A message to a group has come from a kernel, by multicast or as a copy.
  mutating func noteMulticast(
    of kernel: KernelID, _ header: PacketHeader, isCopy: Bool, at now: Time
  ) {
    // A probe may have been for this kernel alone.
    let isProbe = header.server == .managerGroup && !header.mcb.flags.contains(.datagram)
    if isCopy && isProbe { return }
    withPeer(kernel, at: now) { $0.handleMulticast(isCopy: isCopy, at: now) }
  }

  /// Where a message to a group goes singly: to the configured places, and to the kernels that are
  /// heard, but not by multicast, those first that were heard last.
  func copies(at now: Time) -> [Locator] {
    let others = peers.keys.filter {
      peers[$0]!.needsCopies(at: now)
        && peers[$0]!.locator.map { !configured.contains($0) } ?? false
    }
    guard !others.isEmpty else { return configured }
    let latest = others.sorted { peers[$0]!.heardAt > peers[$1]!.heardAt }.prefix(Limits.copies)
    return configured + latest.compactMap { peers[$0]!.locator }
  }
}
