import VProtocol
import VTransport

/// The kernels with which a client has exchanged messages lately: they have a record of it.
///
/// Four, because one mount's clients ask few hosts in turns; with another one a transaction is
/// begun once more than needed.
struct Exchanges: Sendable {
  private struct Exchange {
    var kernel: KernelID
    var at: Time
  }

  private var list = InlineArray<4, Exchange?>(repeating: nil)

  /// Whether that kernel still has the client's record: it keeps it for longer than `idle`.
  func isRecent(_ kernel: KernelID, at now: Time) -> Bool {
    for index in list.indices {
      if let one = list[index], one.kernel == kernel { return now < one.at + Timing.idle }
    }
    return false
  }

  /// Notes an exchange in the place of the oldest.
  mutating func note(_ kernel: KernelID, at time: Time) {
    var place = 0
    for index in list.indices {
      guard let one = list[index] else {
        place = index
        break
      }
      if one.kernel == kernel {
        list[index] = Exchange(kernel: kernel, at: max(one.at, time))
        return
      }
      if let oldest = list[place], one.at < oldest.at { place = index }
    }
    list[place] = Exchange(kernel: kernel, at: time)
  }
}
