package import VProtocol

/// The kernels with which a client has exchanged messages lately: they have a record of it.
package struct Exchanges: Sendable {
  /// The latest last.
  private var list: [(kernel: KernelID, at: Time)] = []

  /// One mount's clients ask few hosts in turns; with another one a transaction is begun once more
  /// than needed.
  private static let kernelsMax = 4

  package init() {}

  /// Whether that kernel still has the client's record: it keeps it for longer than `idle`.
  package func isRecent(_ kernel: KernelID, at now: Time) -> Bool {
    list.contains { $0.kernel == kernel && now < $0.at + Timing.idle }
  }

  package mutating func note(_ kernel: KernelID, at time: Time) {
    if let last = list.last, last.kernel == kernel {
      list[list.count - 1].at = max(last.at, time)
      return
    }
    let known = list.firstIndex { $0.kernel == kernel }.map { list.remove(at: $0).at }
    if list.count == Self.kernelsMax { list.removeFirst() }
    list.append((kernel, max(known ?? time, time)))
  }
}
