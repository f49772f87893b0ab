import Synchronization
public import VProtocol
public import VRuntime

/// The prefixes of one manager: claimed in this host's directory, and answered for in the name
/// handling group.
///
/// The manager has a prefix until another host has it (`duplicateName`): when it is claimed, or
/// when the directory tells of a newer claim. Then the manager stops answering for it, and claims
/// it again after a while, and again: the directory refuses as long as the other manager answers.
public final class PrefixClaims: Sendable {
  private struct State: Sendable {
    var prefixes: [(name: [UInt8], context: ContextID)]
    var manager = EntityID.none
    var directory = EntityID.none
    /// Prefixes that were given up, by their place in the list.
    var givenUp: Set<Int> = []
    /// Prefixes that another host has, by their place in the list.
    var lost: Set<Int> = []
    /// Prefixes that were refused or lost, and will be claimed again.
    var wanted: Set<Int> = []
    /// How often each was refused or lost since it was last held for `heldLong`.
    var failures: [Int: Int] = [:]
    /// Since when each is held.
    var heldSince: [Int: Time] = [:]
    /// Called with the result of each claim.
    var observer: (@Sendable (Int, ReplyCode) -> Void)?
  }

  private let backplane: any Backplane
  private let clients: ClientPool
  private let state: Mutex<State>

  /// Prefixes must differ; each has a context of the manager.
  public init(_ backplane: any Backplane, _ prefixes: [(name: [UInt8], context: ContextID)]) {
    self.backplane = backplane
    clients = ClientPool(backplane, of: .server)
    state = Mutex(State(prefixes: prefixes))
  }

  /// The manager in all answers; `none` before `answer(for:)`.
  public var manager: EntityID { state.withLock { $0.manager } }

  /// Starts to answer for the prefixes of `manager` in the name handling group.
  public func answer(for manager: EntityID) {
    state.withLock { $0.manager = manager }
    let claimant = backplane.makeServer(knowsPrincipals: false) { [self] request in
      guard request.message.mcb.code == QueryName.code,
        let query = try? QueryName(parsing: request.message), let answer = answer(query)
      else { return }
      backplane.reply(answer, to: request)
    }
    backplane.join(claimant, group: .nameHandlingGroup)
  }

  /// Claims every prefix in this host's directory; `completion` is called for each, with its place
  /// in the list, once more with `duplicateName` for a prefix that is lost later to a newer claim,
  /// and with `ok` when a prefix that was refused or lost is held after all.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (Int, ReplyCode) -> Void
  ) {
    let numbers = state.withLock { state in
      state.observer = completion
      state.directory = directory
      return Array(state.prefixes.indices)
    }
    for number in numbers { claim(number) }
  }

  /// Adds one more prefix, or one that was given up; it is claimed at once, if the others were.
  ///
  /// Returns its place in the list.
  @discardableResult
  public func add(_ name: [UInt8], _ context: ContextID) -> Int {
    let (number, isClaiming) = state.withLock { state in
      var number = state.prefixes.count
      if let known = state.prefixes.firstIndex(where: { $0.name == name }) {
        number = known
        state.prefixes[known].context = context
        state.givenUp.remove(known)
      } else {
        state.prefixes.append((name: name, context: context))
      }
      return (number, state.directory != .none)
    }
    if isClaiming { claim(number) }
    return number
  }

  /// Gives up a prefix: the manager stops answering for it, and this host's directory forgets it.
  public func giveUp(_ number: Int) {
    let isClaiming = state.withLock { state in
      state.givenUp.insert(number)
      return state.directory != .none
    }
    if isClaiming { withdraw(number) }
  }

  private func withdraw(_ number: Int) {
    let (prefix, directory, manager) = state.withLock {
      ($0.prefixes[number].name, $0.directory, $0.manager)
    }
    send(ForgetName(prefix: prefix, manager: manager), to: directory) { _ in }
  }

  private func claim(_ number: Int, isAgain: Bool = false) {
    let (prefix, directory, manager) = state.withLock {
      ($0.prefixes[number], $0.directory, $0.manager)
    }
    send(
      ClaimName(prefix: prefix.name, context: prefix.context, manager: manager), to: directory
    ) { [self] code in
      let now = backplane.now
      let (observer, isGivenUp) = state.withLock { state in
        if code.isOK {
          state.lost.remove(number)
          state.heldSince[number] = now
        }
        if code == .duplicateName { state.lost.insert(number) }
        return (state.observer, state.givenUp.contains(number))
      }
      // It was given up while the directory was asking whether it is free.
      if code.isOK && isGivenUp { withdraw(number) }
      if Self.isPassing(code) { claimAgainLater(number) }
      if code.isOK || !isAgain { observer?(number, code) }
    }
  }

  /// Claims a prefix again after a time that doubles with each refusal and loss.
  ///
  /// It is short again only when the prefix was held for long: two managers that cannot hear each
  /// other's answers take a prefix from each other ever more rarely.
  private func claimAgainLater(_ number: Int) {
    let now = backplane.now
    let wait = state.withLock { state -> TimeSpan? in
      if let since = state.heldSince.removeValue(forKey: number), now - since >= Self.heldLong {
        state.failures[number] = 0
      }
      guard !state.givenUp.contains(number), state.wanted.insert(number).inserted else {
        return nil
      }
      let failures = state.failures[number, default: 0]
      state.failures[number] = min(failures + 1, Self.doublingsMax)
      return TimeSpan(nanoseconds: Self.firstWait.nanoseconds << failures)
    }
    guard let wait else { return }
    backplane.after(wait) { [weak self] in
      guard let self else { return }
      let isWanted = state.withLock { state in
        state.wanted.remove(number) != nil && !state.givenUp.contains(number)
          && state.heldSince[number] == nil
      }
      if isWanted { claim(number, isAgain: true) }
    }
  }

  /// Whether a claim that was refused with `code` may be accepted later.
  private static func isPassing(_ code: ReplyCode) -> Bool {
    [.duplicateName, .noServerResources, .busy, .retransmissionTimeout].contains(code)
  }

  /// Each such claim is a probe of the other manager, at last one a minute.
  private static let firstWait = TimeSpan.seconds(4)
  private static let doublingsMax = 4
  private static let heldLong = TimeSpan.seconds(600)

  private func send<Op: Operation>(
    _ operation: Op, to directory: EntityID, _ done: @escaping @Sendable (ReplyCode) -> Void
  ) {
    clients.send(operation, as: "root", to: directory, at: .directory) { answer in
      if case .refused(let refusal) = answer { done(refusal.code) } else { done(.ok) }
    }
  }

  public func holds(_ number: Int) -> Bool {
    state.withLock { !$0.lost.contains(number) && !$0.givenUp.contains(number) }
  }

  /// The manager of a name: that of the longest of its prefixes here, or, for a name that only
  /// leads to prefixes, this one among others; nil for any other name.
  public func answer(_ query: QueryName) -> QueryName.Answer? {
    let name = query.name.rest
    let start = query.name.name.count - name.count
    let (prefixes, manager, lost, givenUp) = state.withLock {
      ($0.prefixes, $0.manager, $0.lost, $0.givenUp)
    }
    let longest = prefixes.indices
      .filter { !givenUp.contains($0) && Self.leads(prefixes[$0].name[...], to: name) }
      .max { prefixes[$0].name.count < prefixes[$1].name.count }
    if let longest {
      guard !lost.contains(longest) else { return nil }
      let prefix = prefixes[longest]
      return QueryName.Answer(
        manager: manager, context: prefix.context,
        prefixBytes: start + prefix.name.count, kind: .context)
    }
    let leads = prefixes.indices.contains {
      !lost.contains($0) && !givenUp.contains($0)
        && Self.leads(name, to: prefixes[$0].name[...])
    }
    guard leads else { return nil }
    return QueryName.Answer(
      manager: manager, context: .none, prefixBytes: query.name.name.count, kind: .sharedContext)
  }

  /// Handles SpreadClaims, by which the directory of this host tells a manager of claims that are
  /// newer than its own; from any other sender it is `illegalRequest`.
  public func handleLoss(_ request: Request) {
    guard request.isLocal, request.principal?.isFullRoot == true,
      request.message.mcb.flags.contains(.datagram),
      let news = try? SpreadClaims(parsing: request.message)
    else { return backplane.refuse(.illegalRequest, request) }
    for claim in news.claims {
      let told = state.withLock { state -> (Int, (@Sendable (Int, ReplyCode) -> Void)?)? in
        guard let number = state.prefixes.firstIndex(where: { $0.name == claim.prefix }),
          state.lost.insert(number).inserted
        else { return nil }
        return (number, state.observer)
      }
      guard let (number, observer) = told else { continue }
      observer?(number, .duplicateName)
      claimAgainLater(number)
    }
  }

  private static func leads(_ front: ArraySlice<UInt8>, to name: ArraySlice<UInt8>) -> Bool {
    name.starts(with: front)
      && (front.isEmpty || front.count == name.count
        || name[name.startIndex + front.count] == UInt8(ascii: "/"))
  }
}
