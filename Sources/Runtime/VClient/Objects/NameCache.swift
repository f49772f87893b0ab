import Synchronization
public import VProtocol
public import VRuntime

/// The prefix cache of one program: longest prefix -> manager and context (CACM 1988).
///
/// No message invalidates an entry. When a manager refuses a stale one, or is silent, the user
/// calls `forget` and asks the directory again, or, if that has nothing newer, the name handling
/// group by QueryName.
public final class NameCache: Sendable {
  /// The object of a prefix, as it was last described; its attributes may be out of date.
  public struct Root: Equatable, Sendable {
    public var manager: EntityID
    public var descriptor: Descriptor
  }

  /// What was counted since the cache was made: each lookup of a name is one of the first three.
  public struct Counters: Equatable, Sendable {
    /// The manager was known, and answered.
    public var hits = 0
    /// What was known was stale, or was the manager of a shorter prefix only.
    public var nearMisses = 0
    /// Nothing was known.
    public var misses = 0
    /// Questions to the name handling group.
    public var multicasts = 0
  }

  private struct State {
    /// Roots as they were last described; kept, but not current, when their manager ends.
    var roots: [[UInt8]: (last: Root, isCurrent: Bool)] = [:]
    /// The name handling group's answer for a name, and so for the prefix, and its time.
    var answers: [[UInt8]: (found: QueryName.Answer, time: Time)] = [:]
    var counters = Counters()
  }

  private let backplane: any Backplane
  private let clients: ClientPool
  private let state = Mutex(State())

  /// A name without an answer in this time does not exist.
  static let queryTimeLimit = TimeSpan.milliseconds(200)
  private static let answerLifetime = TimeSpan.seconds(2)
  /// More prefixes than a cluster has; beyond it the cache is emptied.
  static let rootsMax = 4096

  public init(_ backplane: any Backplane, clients: ClientPool) {
    self.backplane = backplane
    self.clients = clients
  }

  public var counters: Counters { state.withLock { $0.counters } }

  /// Asks the name handling group for the manager of `name` (octets separated by `/`, none in
  /// front); `notFound` without an answer.
  ///
  /// For some seconds it is not asked again for that name, nor for the prefix in the answer: long
  /// enough for all steps of one use.
  public func query(
    _ name: [UInt8], completion: @escaping @Sendable (Answer<QueryName.Answer>) -> Void
  ) {
    let now = backplane.now
    let known: QueryName.Answer? = state.withLock { state in
      if let known = state.answers[name], now - known.time < Self.answerLifetime {
        return known.found
      }
      state.counters.multicasts += 1
      return nil
    }
    if let known { return completion(.done(known, by: known.manager)) }
    clients.send(
      QueryName(ContextName(.none, name)), as: "nobody", to: .nameHandlingGroup,
      options: SendOptions(timeLimit: Self.queryTimeLimit)
    ) { [self] answer in
      switch answer {
      case .done(let found, _) where found.prefixBytes > name.count:
        completion(.refused(.vmtpError))
      case .done(let found, _):
        if found.kind == .context {
          state.withLock { state in
            if state.answers.count >= Self.rootsMax { state.answers.removeAll() }
            state.answers[name] = (found, now)
            state.answers[Array(name[..<found.prefixBytes])] = (found, now)
          }
        }
        completion(answer)
      case .refused(.userTimeout), .refused(.retransmissionTimeout):
        completion(.refused(.notFound))
      case .refused(let refusal): completion(.refused(refusal))
      }
    }
  }

  /// Looks up the root of the prefix `name`, and counts the lookup.
  public func root(of name: [UInt8]) -> Root? {
    state.withLock { state in
      let root = state.roots[name]
      if let root, root.isCurrent {
        state.counters.hits += 1
        return root.last
      }
      let isNear =
        root != nil
        || name.indices.contains {
          name[$0] == UInt8(ascii: "/") && state.roots[Array(name[..<$0])]?.isCurrent == true
        }
      if isNear { state.counters.nearMisses += 1 } else { state.counters.misses += 1 }
      return nil
    }
  }

  /// Counts a lookup below an object whose manager was known: stale if the manager did not answer
  /// for it.
  public func countLookup(isStale: Bool) {
    state.withLock { state in
      if isStale { state.counters.nearMisses += 1 } else { state.counters.hits += 1 }
    }
  }

  /// Stores the directory's answer.
  public func remember(_ descriptor: Descriptor, of manager: EntityID, for name: [UInt8]) {
    state.withLock { state in
      if state.roots.count >= Self.rootsMax { state.roots.removeAll() }
      state.roots[name] = (Root(manager: manager, descriptor: descriptor), isCurrent: true)
    }
  }

  /// The root of a prefix as it was last described: for use while its host is down.
  public func lastSeen(_ name: [UInt8]) -> Root? { state.withLock { $0.roots[name]?.last } }

  /// Drops the prefixes of `manager`, because it refused or did not answer.
  public func forget(_ manager: EntityID) {
    state.withLock { state in
      for (name, root) in state.roots where root.last.manager == manager {
        state.roots[name]?.isCurrent = false
      }
      state.answers = state.answers.filter { $0.value.found.manager != manager }
    }
  }

  /// Every known prefix and its manager, in order of name.
  public var prefixes: [(name: [UInt8], manager: EntityID)] {
    state.withLock { $0.roots.filter(\.value.isCurrent).map { ($0.key, $0.value.last.manager) } }
      .sorted { $0.0.lexicographicallyPrecedes($1.0) }
  }
}
