package import VProtocol

/// The state of another kernel: where it is, how fast it answers, and whether it is alive.
///
/// A peer is silent once 2.0 s pass in which it answers nothing although it owes an answer, even if
/// it is heard: perhaps it does not hear this kernel. Transactions to it then end, and new ones end
/// at once, until it answers again.
package struct Peer: Sendable {
  /// A place from which a packet of it came, and where it was asked whether it is there.
  package struct Candidate: Sendable {
    package var locator: Locator
    package var transaction: TransactionID
    package var askedAt: Time
  }

  package private(set) var locator: Locator?
  /// When it was last heard there.
  package private(set) var placedAt: Time
  package private(set) var candidate: Candidate?
  package var roundTrip = RoundTrip()
  /// When its last valid packet came, and when it last answered a request or a probe.
  package private(set) var heardAt: Time
  package private(set) var answeredAt: Time
  /// When it was last heard by multicast; before that, since when it is known.
  private var multicastAt: Time
  /// Whether its last message to a group came as a copy for this kernel alone.
  private var sendsCopies = false
  /// Transactions that wait for this peer.
  package private(set) var pending = 0
  private var pendingSince: Time
  package private(set) var isSilent = false
  /// When a silent or unlocated peer was last asked for a sign of life.
  package private(set) var askedAt: Time?
  /// Since when all kernels have been asked for it, or for what it is known to have.
  private var soughtSince: Time?
  /// Why it is asked whether it is at its place, until it answers.
  package var doubt: Doubt?
  private var doubtedAt: Time?
  /// Those transactions that wait for it.
  package var waiting = Backlog<Waiting>()
  /// Records of the clients whose requests it sent, and probes under way for them.
  package var records: Set<RecordKey> = []
  package var probes = 0
  /// The name of its host, from its first answer to a probe on.
  package var host: String?
  /// Clients that seem to have moved to it, about which their own kernels are asked.
  package var questions: [EntityID: Question] = [:]
  /// If it has ended: entities that no kernel had when all were asked, and when that was.
  private var absent: [EntityID: Time] = [:]

  package init(at now: Time) {
    heardAt = now
    answeredAt = now
    placedAt = now
    multicastAt = now
    pendingSince = now
  }

  /// When it becomes silent, unless it answers before.
  ///
  /// While this kernel was stopped, until `woken`, nobody was asked.
  package func silentAt(since woken: Time) -> Time {
    max(answeredAt, pendingSince, woken) + Timing.silence
  }

  /// Whether it is silent, but heard: what is sent to it is lost on the way.
  package func isDeaf(at now: Time) -> Bool { isSilent && now < heardAt + Timing.silence }

  /// It is asked at another place than its own whether it is there.
  package mutating func noteChallenge(
    at locator: Locator, _ transaction: TransactionID, _ now: Time
  ) {
    guard self.locator != locator else { return }
    candidate = Candidate(locator: locator, transaction: transaction, askedAt: now)
  }

  /// Whether the last question at another place has had its time.
  package func mayBeChallenged(at now: Time) -> Bool {
    candidate.map { $0.askedAt + Timing.retransmissionCap <= now } ?? true
  }

  /// Whether this kernel has nothing under way with it.
  package var isIdle: Bool { pending == 0 && probes == 0 && records.isEmpty }

  package mutating func handleHeard(from source: Locator, at now: Time) {
    heardAt = now
    if source == locator { placedAt = now }
  }

  /// A message of it to a group has come, by multicast or as a copy.
  package mutating func handleMulticast(isCopy: Bool, at now: Time) {
    sendsCopies = isCopy
    if !isCopy { multicastAt = now }
  }

  /// Whether it is heard, but not by multicast, which then does not reach it either.
  package func needsCopies(at now: Time) -> Bool {
    now < heardAt + Timing.copied && (sendsCopies || multicastAt + Timing.multicast <= now)
  }

  package mutating func handleAnswer(at now: Time) {
    answeredAt = now
    isSilent = false
    (doubt, soughtSince) = (nil, nil)
  }

  package mutating func noteAsked(at now: Time) { askedAt = now }

  package mutating func noteSought(at now: Time) {
    (askedAt, soughtSince) = (now, soughtSince ?? now)
  }

  /// It is at a locator, and answers there.
  package mutating func place(at locator: Locator, _ now: Time) {
    (self.locator, placedAt, candidate) = (locator, now, nil)
  }

  /// The network reports that nobody receives what is sent to it; true if that is news.
  package mutating func noteReport(at now: Time) -> Bool {
    if doubt != nil {
      doubt!.reports += 1
    } else if now >= doubtedAt.map({ $0 + Timing.doubtInterval }) ?? now {
      (doubt, doubtedAt) = (Doubt(reports: 1), now)
      return true
    }
    return false
  }

  /// Another kernel answers from its place; true if that is news.
  package mutating func noteReplaced() -> Bool {
    defer { doubt!.isReplaced = true }
    guard doubt == nil else { return false }
    doubt = Doubt()
    return true
  }

  /// It has answered none of the probes: it is silent if there were several reports.
  package mutating func endDoubt() {
    isSilent = isSilent || doubt.map { $0.reports >= Doubt.reportsMin } ?? false
    doubt = nil
  }

  package mutating func addPending(at now: Time) {
    if pending == 0 { pendingSince = now }
    pending += 1
  }

  package mutating func removePending() {
    precondition(pending > 0, "a transaction ends once")
    pending -= 1
  }

  /// Marks it silent if its time is over; true if it is silent.
  package mutating func checkSilence(at now: Time, since woken: Time) -> Bool {
    if pending > 0 && silentAt(since: woken) <= now { isSilent = true }
    return isSilent
  }

  /// Whether it has been asked for `span`, and has answered nothing since.
  package func owesAnswer(for span: TimeSpan, at now: Time, woken: Time) -> Bool {
    guard pending == 0 else { return max(answeredAt, pendingSince, woken) + span <= now }
    return soughtSince.map { max($0, woken) + span <= now } ?? false
  }

  /// Counts one more question about a client; nil if there are too many.
  package mutating func ask(_ client: EntityID, at now: Time) -> Question? {
    guard var question = questions[client] else {
      guard questions.count < Limits.questions else {
        questions.removeAll()
        return nil
      }
      questions[client] = Question(firstAt: now, lastAt: now)
      return questions[client]
    }
    if question.lastAt + Timing.beforeAnySample <= now {
      question.count += 1
      question.lastAt = now
      questions[client] = question
    }
    return question
  }

  /// If it has ended: when the search of all kernels for an entity ends, wanted since `time`.
  package func searchEnd(since time: Time) -> Time { max(time, pendingSince) + Timing.absence }

  package mutating func noteAbsent(_ entity: EntityID, at now: Time) {
    if absent.count == Limits.absent { absent = [:] }
    absent[entity] = now
  }

  package func isAbsent(_ entity: EntityID, at now: Time) -> Bool {
    absent[entity].map { now < $0 + Timing.absenceKept } ?? false
  }

  /// Whether it has been silent for so long that its requests are orphans.
  package func isLost(at now: Time) -> Bool { heardAt + Timing.orphan <= now }
}

/// How often another kernel was asked whether a client has moved.
package struct Question: Sendable {
  package var firstAt: Time
  package var lastAt: Time
  package var count = 1
}

/// Why a kernel may not be at its place, since it has answered.
package struct Doubt: Sendable {
  /// What the network has reported.
  package var reports = 0
  /// Another kernel answers from there.
  package var isReplaced = false
  package var probes = 0

  /// Unanswered probes in a row after which it is not there.
  package static let probesMax = 4
  /// One report may be late, or come from anybody; Linux sends six at once, then one in a second.
  package static let reportsMin = 3
}
