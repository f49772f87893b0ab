import Synchronization
import VProtocol

/// A change in the connection of a conversation with a program.
public enum OutageNotice: Sendable {
  /// No answer comes, and the conversation waits for it.
  case silent
  case back
}

/// The connection to a host, or to its server: whether it is lost, since when, and how long that is
/// tolerated.
final class Outage: Sendable {
  private let limit: TimeSpan
  private let tell: @Sendable (OutageNotice) -> Void
  private let since = Mutex<Time?>(nil)

  /// The wait before the next attempt: short beside the time in which a kernel finds a peer silent.
  static let pause = TimeSpan.milliseconds(250)

  init(limit: TimeSpan, _ tell: @escaping @Sendable (OutageNotice) -> Void) {
    self.limit = limit
    self.tell = tell
  }

  var isNow: Bool { since.withLock { $0 != nil } }

  /// Whether a code leaves the outcome of a request unknown, or no server was found.
  static func isLoss(_ code: ReplyCode) -> Bool {
    [.retransmissionTimeout, .nonexistentEntity, .outcomeUnknown, .invalidFileID].contains(code)
  }

  /// A request was lost; returns whether to try again.
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
