import Synchronization
public import VProtocol

/// The prefix cache of one program: longest prefix -> manager and context (CACM 1988).
///
/// Entries are not invalidated by anybody: a manager that refuses a stale one, or is silent, makes
/// the user call `forget`, and ask the directory again, or, where that does not know better, the
/// name handling group by QueryName.
public final class NameCache: Sendable {
  /// The object that a prefix names, as it was last described; its attributes are not current.
  public struct Root: Equatable, Sendable {
    public var manager: EntityID
    public var descriptor: Descriptor
  }

  /// What the cache did since it was made.
  public struct Counters: Equatable, Sendable {
    /// Prefixes found in the cache.
    public var hits = 0
    /// Prefixes that the directory was asked for.
    public var misses = 0
    /// Prefixes that the name handling group was asked for.
    public var multicasts = 0
  }

  private struct State {
    /// Roots as they were last described, kept when their manager goes away: then not current.
    var roots: [[UInt8]: (last: Root, isCurrent: Bool)] = [:]
    /// What the name handling group answered for a name, and thereby for the prefix, and when.
    var answers: [[UInt8]: (found: QueryName.Answer, time: Time)] = [:]
    var counters = Counters()
  }

  private let backplane: any Backplane
  private let clients: ClientPool
  private let state = Mutex(State())

  /// A name that nobody has answered for in this time does not exist.
  static let queryTimeLimit = TimeSpan.milliseconds(200)
  private static let answerLifetime = TimeSpan.seconds(2)
  /// More prefixes than a cluster has; beyond it the cache starts anew.
  static let rootsMax = 4096

  public init(_ backplane: any Backplane, clients: ClientPool) {
    self.backplane = backplane
    self.clients = clients
  }

  public var counters: Counters { state.withLock { $0.counters } }

  /// Asks the name handling group who answers for `name` (octets separated by `/`, none in
  /// front); `notFound` where nobody does.
  ///
  /// It is asked once for a name, and not for a prefix that was an answer, for some seconds: long
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

  /// The root of the prefix that `name` is, if it is known; then it counts as a hit.
  public func root(of name: [UInt8]) -> Root? {
    state.withLock { state in
      guard let root = state.roots[name], root.isCurrent else { return nil }
      state.counters.hits += 1
      return root.last
    }
  }

  /// What the directory's answer showed; counts a miss.
  public func remember(_ descriptor: Descriptor, of manager: EntityID, for name: [UInt8]) {
    state.withLock { state in
      if state.roots.count >= Self.rootsMax { state.roots.removeAll() }
      state.counters.misses += 1
      state.roots[name] = (Root(manager: manager, descriptor: descriptor), isCurrent: true)
    }
  }

  /// The root of a prefix as it was last seen: all that can be said of it while its host is away.
  public func lastSeen(_ name: [UInt8]) -> Root? { state.withLock { $0.roots[name]?.last } }

  /// Drops what is known about prefixes of `manager`, because it refused or did not answer.
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
