import Synchronization
import VObjects
import VProtocol
import VRuntime

/// Operations on names: of shared contexts, or forwarded to the manager of a prefix.
extension Directory {
  func serve(_ request: Request, _ caller: Caller) {
    switch request.message.mcb.code {
    case ClaimName.code:
      backplane.serve(ClaimName.self, request) { claim($0, caller, request) }
    case ForgetName.code:
      backplane.serve(ForgetName.self, request) { forget($0, caller, request) }
    case QueryClaims.code:
      backplane.serve(QueryClaims.self, request) { query in
        backplane.reply(state.withLock { $0.table.answer(query) }, to: request)
      }
    case QueryName.code...QueryStore.code, QueryAttribute.code...ChangeAttribute.code:
      serveName(request, caller)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  /// Any request with a name: served here, or forwarded to the manager of its prefix.
  func serveName(_ request: Request, _ caller: Caller, opening: CreateInstance? = nil) {
    guard let name = try? ContextName(parsing: request.message) else {
      return backplane.refuse(.badArguments, request)
    }
    guard let context = contexts[name.context == .none ? SharedContext.root : name.context] else {
      return backplane.refuse(.invalidContext, request)
    }
    let (front, rest) = (context.octets, Array(name.rest))
    let full = front.isEmpty || rest.isEmpty ? front + rest : front + [slash] + rest
    if request.message.mcb.code == QueryName.code { return answerName(name, full, request) }
    if rest.isEmpty { return serveOwn(full, isNamed: false, caller, request, opening) }
    if target(ofLink: full) != nil {
      return serveOwn(full, isNamed: true, caller, request, opening)
    }
    let place = state.withLock { $0.place(of: full) }
    switch place {
    case .claimed(let claim, let prefixBytes):
      handOn(
        request, name, leaving: full.count - prefixBytes,
        to: claim.state == .away ? .none : claim.manager, claim.context)
    case .shared:
      serveOwn(full, isNamed: true, caller, request, opening)
    case .unknown:
      search(full, for: caller) { [self] result in
        switch result {
        case .failure(let refusal): objects.refuse(refusal, request)
        case .success(nil): backplane.refuse(refusalOfUnknown(request), request)
        case .success(let answer?) where answer.kind == .sharedContext:
          serveOwn(full, isNamed: true, caller, request, opening)
        case .success(let answer?):
          handOn(
            request, name, leaving: full.count - answer.prefixBytes, to: answer.manager,
            answer.context)
        }
      }
    }
  }

  /// Answers from the table which manager has a name; the manager may be down.
  private func answerName(_ name: ContextName, _ full: [UInt8], _ request: Request) {
    switch state.withLock({ $0.place(of: full) }) {
    case .claimed(let claim, let prefixBytes):
      let prefixBytes = name.name.count - (full.count - prefixBytes)
      guard prefixBytes >= name.index else { return backplane.refuse(.invalidContext, request) }
      backplane.reply(
        QueryName.Answer(
          manager: claim.manager, context: claim.context, prefixBytes: prefixBytes,
          kind: .context), to: request)
    case .shared:
      backplane.reply(
        QueryName.Answer(
          manager: server, context: context(of: full), prefixBytes: name.name.count,
          kind: .sharedContext),
        to: request)
    case .unknown: backplane.refuse(.notFound, request)
    }
  }

  /// Forwards a request whose name has `leaving` octets (and a slash) behind another manager's
  /// prefix.
  ///
  /// A whole prefix cannot be changed by these operations. The manager is `none` if it has ended:
  /// its names then fail like those of a silent host.
  private func handOn(
    _ request: Request, _ name: ContextName, leaving: Int, to manager: EntityID,
    _ context: ContextID
  ) {
    if leaving == 0, let code = refusalOfChange(request.message.mcb.code) {
      return backplane.refuse(code, request)
    }
    guard manager.isValid, !manager.isGroup else {
      return backplane.refuse(.retransmissionTimeout, request)
    }
    var message = request.message
    message.mcb.setPair(1, context.rawValue)
    let index = leaving == 0 ? name.name.count : name.name.count - leaving + 1
    // A prefix that ends above this context: the name must be given from the root.
    guard (name.index...name.name.count).contains(index) else {
      return backplane.refuse(.invalidContext, request)
    }
    message.mcb[3] = UInt32(index) << 16 | UInt32(name.name.count)
    backplane.forward(request, message, to: manager)
  }

  private func refusalOfChange(_ code: UInt32) -> ReplyCode? {
    switch code {
    case AddName.code, LinkName.code: .duplicateName
    case RemoveName.code, RenameObject.code: .notOwner
    default: nil
    }
  }

  /// A name in a shared context is made by claiming it, not by these operations.
  private func refusalOfUnknown(_ request: Request) -> ReplyCode {
    let mcb = request.message.mcb
    switch mcb.code {
    case AddName.code, LinkName.code: return .notOwner
    case CreateInstance.code where OpenMode(rawValue: mcb[4] >> 16).contains(.create):
      return .notOwner
    default: return .notFound
    }
  }

  private func serveOwn(
    _ name: [UInt8], isNamed: Bool, _ caller: Caller, _ request: Request,
    _ opening: CreateInstance?
  ) {
    if let opening { return open(name, opening, caller, request) }
    switch request.message.mcb.code {
    case QueryObject.code: backplane.reply(descriptor(of: name), to: request)
    case ReadLink.code:
      guard let target = target(ofLink: name) else {
        return backplane.refuse(.badArguments, request)
      }
      backplane.reply(ReadInstance.Answer(data: target), to: request)
    case CheckAccess.code:
      backplane.serve(CheckAccess.self, request) { operation in
        if operation.mask & 2 != 0 { return backplane.refuse(.noPermission, request) }
        backplane.reply(Done(), to: request)
      }
    case QueryStore.code: backplane.reply(QueryStore.Answer(), to: request)
    case QueryAttribute.code...ChangeAttribute.code: backplane.refuse(.notSupported, request)
    case AddName.code where isNamed, LinkName.code where isNamed:
      backplane.refuse(.duplicateName, request)
    default: backplane.refuse(.notOwner, request)
    }
  }
}

// MARK: - Names beyond the table

extension Directory {
  /// How long a name without an answer is not asked for again.
  private static let absenceInterval = TimeSpan.seconds(5)
  /// A name without an answer in this time does not exist.
  private static let queryTimeLimit = TimeSpan.milliseconds(200)

  /// Asks the name handling group for a name that is not in the table, then calls `found`, with nil
  /// if there is none.
  ///
  /// Every host gets the question, so it counts in the share of `caller`.
  private func search(
    _ name: [UInt8], for caller: Caller,
    _ found: @escaping @Sendable (Result<QueryName.Answer?, Refusal>) -> Void
  ) {
    let now = backplane.now
    let asker = caller.principal
    guard Claim.isPrefix(name), !state.withLock({ $0.absent.contains(name, at: now) }) else {
      return found(.success(nil))
    }
    let isAsked = state.withLock { state in
      guard state.searches.take(asker) else { return false }
      state.questions += 1
      return true
    }
    guard isAsked else {
      return found(
        .failure(Refusal(.noServerResources, "\(asker) asks for too many unknown names at once")))
    }
    // Whoever is asked could forward the request, with other words, as its sender's.
    clients.send(
      QueryName(ContextName(.none, name)), as: "nobody", to: .nameHandlingGroup, at: .memory,
      options: SendOptions(timeLimit: Self.queryTimeLimit)
    ) { [self] answer in
      let now = backplane.now
      var value: QueryName.Answer?
      if case .done(let answer, _) = answer { value = answer }
      state.withLock { state in
        state.searches.give(asker)
        guard value == nil else { return }
        state.absent.insert(name, askedBy: asker, until: now + Self.absenceInterval, at: now)
      }
      found(.success(value))
    }
  }

  private var slash: UInt8 { ClaimTable.slash }
}
