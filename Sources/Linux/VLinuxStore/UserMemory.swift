package import VProtocol
package import VStore

/// The answer of a table of users to one question.
package enum UserAnswer: Equatable, Sendable {
  case user(UserAccount?)
  case group(UInt32?)
  case name(String?)

  /// Whether the host has no such user or group.
  var isAbsent: Bool {
    switch self {
    case .user(let account): account == nil
    case .group(let number): number == nil
    case .name(let name): name == nil
    }
  }
}

/// The known answers of a table of users, and the questions under way: a value, to which the time
/// is an argument, in nanoseconds.
///
/// An answer is fresh for a minute, or until the table changes. An old one is still given while the
/// table is asked again, so that a table that hangs or fails stops no known user. That a user does
/// not exist is used only while it is fresh. A failure is an answer too, for a second: a table that
/// is down is not flooded with questions.
package struct UserMemory: Sendable {
  package enum Verdict: Equatable, Sendable {
    case known(UserAnswer)
    /// Known, but to be asked again.
    case old(UserAnswer)
    case refused(ReplyCode)
    case unknown
  }

  private struct Known: Sendable {
    var answer: UserAnswer
    var askedAt: Int64
  }

  private struct Search: Sendable {
    var startedAt: Int64
    var waiters: [@Sendable () -> Void] = []
  }

  private var known: [UserQuestion: Known] = [:]
  /// Kept apart: questions for names that do not exist push out no users.
  private var absent: [UserQuestion: Known] = [:]
  private var failures: [UserQuestion: (code: ReplyCode, until: Int64)] = [:]
  private var searches: [UserQuestion: Search] = [:]
  private var waiterCount = 0
  private var changedAt = Int64.min

  /// More users and groups than a host has active at a time; beyond it all are dropped.
  package static let knownMax = 4096
  /// Names that do not exist, which anybody can make up; the same limit for failures.
  package static let absentMax = 256
  /// Questions under way: further ones would wait long behind these.
  package static let searchesMax = 64
  /// Callers that wait for questions under way.
  package static let waitersMax = 1024
  /// Users may come from another machine, where changes are not noticed here.
  package static let freshNanoseconds: Int64 = 60_000_000_000
  /// How long a table may be down without an effect on known users.
  package static let oldNanoseconds: Int64 = 3_600_000_000_000
  package static let failureNanoseconds: Int64 = 1_000_000_000

  package init() {}

  package func verdict(_ question: UserQuestion, at now: Int64) -> Verdict {
    if let known = known[question] {
      if isFresh(known, now) { return .known(known.answer) }
      if now - known.askedAt < Self.oldNanoseconds { return .old(known.answer) }
    } else if let absent = absent[question], isFresh(absent, now) {
      return .known(absent.answer)
    }
    if let failure = failures[question], now < failure.until { return .refused(failure.code) }
    return .unknown
  }

  private func isFresh(_ known: Known, _ now: Int64) -> Bool {
    known.askedAt >= changedAt && now - known.askedAt < Self.freshNanoseconds
  }

  /// The table has changed: its earlier answers are old.
  package mutating func noteChange(at now: Int64) { changedAt = now }

  /// Whether the caller must ask the table now.
  package mutating func begin(_ question: UserQuestion, at now: Int64) -> Bool {
    guard searches[question] == nil, searches.count < Self.searchesMax else { return false }
    if let failure = failures[question], now < failure.until { return false }
    searches[question] = Search(startedAt: now)
    return true
  }

  /// Has a waiter called when a question under way is answered; false if none is under way, or too
  /// many wait.
  package mutating func add(_ waiter: @escaping @Sendable () -> Void, to question: UserQuestion)
    -> Bool
  {
    guard searches[question] != nil, waiterCount < Self.waitersMax else { return false }
    searches[question]?.waiters.append(waiter)
    waiterCount += 1
    return true
  }

  /// Stores the answer of the table; returns the waiters to call.
  package mutating func end(
    _ question: UserQuestion, _ result: Result<UserAnswer, StoreFailure>, at now: Int64
  ) -> [@Sendable () -> Void] {
    let search = searches.removeValue(forKey: question)
    let askedAt = search?.startedAt ?? now
    switch result {
    case .success(let answer):
      failures[question] = nil
      let entry = Known(answer: answer, askedAt: askedAt)
      if answer.isAbsent {
        known[question] = nil
        if absent.count >= Self.absentMax { absent.removeAll() }
        absent[question] = entry
      } else {
        absent[question] = nil
        if known.count >= Self.knownMax { known.removeAll() }
        known[question] = entry
      }
    case .failure(let failure):
      if failures.count >= Self.absentMax { failures.removeAll() }
      var code = ReplyCode.deviceError
      if case .refused(let said) = failure { code = said }
      failures[question] = (code, now + Self.failureNanoseconds)
    }
    waiterCount -= search?.waiters.count ?? 0
    return search?.waiters ?? []
  }
}
