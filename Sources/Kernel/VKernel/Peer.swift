import VProtocol
import VTransport

/// The state of another kernel: where it is, how fast it answers, and whether it is alive.
///
/// A peer is silent once 2.0 s pass without a valid packet from it while it owes an answer.
/// Transactions to it then end, and new ones end at once, until it is heard again.
struct Peer: Sendable {
  private(set) var locator: Locator?
  /// When it was last heard there.
  private(set) var placedAt: Time
  var roundTrip = RoundTrip()
  private(set) var heardAt: Time
  /// Transactions that wait for this peer.
  private(set) var pending = 0
  private var pendingSince: Time
  private(set) var isSilent = false
  /// When a silent or unlocated peer was last asked for a sign of life.
  var askedAt: Time?
  /// Cast by what the network reports, until it is heard.
  private(set) var doubt: Doubt?
  private var doubtedAt: Time?
  /// Those transactions that wait for it.
  var waiting = Backlog<Waiting>()
  /// Records of the clients whose requests it sent, and probes under way for them.
  var records: Set<RecordKey> = []
  var probes = 0
  /// The name of its host, from its first answer to a probe on.
  var host: String?

  init(at now: Time) {
    heardAt = now
    placedAt = now
    pendingSince = now
  }

  /// When it becomes silent, unless it is heard before.
  var silentAt: Time { max(heardAt, pendingSince) + Timing.silence }

  /// Whether this kernel has nothing under way with it.
  var isIdle: Bool { pending == 0 && probes == 0 && records.isEmpty }

  mutating func handleHeard(at now: Time) {
    heardAt = now
    isSilent = false
    doubt = nil
  }

  /// The network reports that nobody receives what is sent to it; true if that is news.
  mutating func noteReport(at now: Time) -> Bool {
    if doubt != nil {
      doubt!.reports += 1
    } else if now >= doubtedAt.map({ $0 + Timing.doubtInterval }) ?? now {
      (doubt, doubtedAt) = (Doubt(), now)
      return true
    }
    return false
  }

  /// Counts one more probe of a doubted kernel.
  mutating func countDoubtProbe() { doubt?.probes += 1 }

  /// It has answered none of the probes: it is silent if there were several reports.
  mutating func endDoubt() {
    isSilent = isSilent || doubt.map { $0.reports >= Doubt.reportsMin } ?? false
    doubt = nil
  }

  /// A packet of it came from `source`; true if that is its place from now on.
  ///
  /// Hosts have several addresses, and a packet may leave with any. So a kernel stays where it was
  /// found until it has not been heard there for a while, or has answered a probe elsewhere.
  mutating func note(_ source: Locator, isAnswer: Bool, at now: Time) -> Bool {
    let isMoved = source != locator
    if isMoved, locator != nil, !isAnswer, now < placedAt + Timing.placed { return false }
    (locator, placedAt) = (source, now)
    return isMoved
  }

  mutating func addPending(at now: Time) {
    if pending == 0 { pendingSince = now }
    pending += 1
  }

  mutating func removePending() {
    precondition(pending > 0, "a transaction ends once")
    pending -= 1
  }

  /// Marks it silent if its time is over; true if it is silent.
  mutating func checkSilence(at now: Time) -> Bool {
    if pending > 0 && silentAt <= now { isSilent = true }
    return isSilent
  }

  /// Whether it has been silent for so long that its requests are orphans.
  func isLost(at now: Time) -> Bool { heardAt + Timing.orphan <= now }
}

/// What the network has reported of a kernel since it was heard.
struct Doubt: Sendable {
  var reports = 1
  var probes = 0

  /// Unanswered probes in a row after which it is silent.
  static let probesMax = 4
  /// One report may be late, or come from anybody; Linux sends six at once, then one in a second.
  static let reportsMin = 3
}

/// The kernel's counters; plain integers inside the locked value.
public struct Counters: Equatable, Sendable {
  public var requestsSent = 0
  public var responsesSent = 0
  public var retransmissions = 0
  public var duplicates = 0
  public var probesSent = 0
  public var notifiesSent = 0
  public var multicastsSent = 0
  public var packetsIgnored = 0
  public var silentPeers = 0
  /// Requests that were dropped because their kernel was not believed about the client: it claimed
  /// this host's name, or another name than before.
  public var principalsRefused = 0

  public init() {}
}
