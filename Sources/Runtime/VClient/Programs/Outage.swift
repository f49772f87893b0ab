import Synchronization
import VProtocol

/// What a conversation with a program says of the way to its host.
public enum OutageNotice: Sendable {
  /// No answer comes, and it is waited for.
  case silent
  case back
}

/// The way to a host, or to the server there: whether it is lost, since when, and for how long that
/// is borne.
final class Outage: Sendable {
  private let limit: TimeSpan
  private let tell: @Sendable (OutageNotice) -> Void
  private let since = Mutex<Time?>(nil)

  /// How long to wait before the next attempt: short beside what a kernel takes to find out.
  static let pause = TimeSpan.milliseconds(250)

  init(limit: TimeSpan, _ tell: @escaping @Sendable (OutageNotice) -> Void) {
    self.limit = limit
    self.tell = tell
  }

  var isNow: Bool { since.withLock { $0 != nil } }

  /// Codes of a request of which nobody knows what became, or that found no server.
  static func isLoss(_ code: ReplyCode) -> Bool {
    [.retransmissionTimeout, .nonexistentEntity, .outcomeUnknown, .invalidFileID].contains(code)
  }

  /// A request was lost; whether to try again.
  func handleLoss(at now: Time) -> Bool {
    guard limit > TimeSpan(nanoseconds: 0) else { return false }
    let (isNew, mayGoOn) = since.withLock { since in
      defer { since = since ?? now }
      return (since == nil, now - (since ?? now) < limit)
    }
    if isNew { tell(.silent) }
    return mayGoOn
  }

  func handleAnswer() {
    if since.withLock({ $0.take() }) != nil { tell(.back) }
  }
}
