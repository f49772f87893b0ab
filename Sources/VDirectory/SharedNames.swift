import Synchronization
import VProtocol
import VRuntime

/// The operations on shared contexts.
extension Directory {
  func serve(_ request: Request) {
    let code = request.message.mcb.code
    switch code {
    case ClaimName.code:
      backplane.serve(ClaimName.self, request) { claim($0, request) }
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { read($0, request) }
    case QueryInstance.code:
      backplane.serve(QueryInstance.self, request) { operation in
        describe(ContextID(rawValue: operation.instance.rawValue), request)
      }
    case ReleaseInstance.code, SyncInstance.code:
      backplane.reply(Done(), to: request)
    case QueryName.code...QueryStore.code, CreateInstance.code:
      serveName(request)
    default:
      backplane.refuse(.illegalRequest, request)
    }
  }

  /// Any request with a name: ours, or handed on to the manager of its prefix.
  private func serveName(_ request: Request) {
    guard let name = try? ContextName(parsing: request.message) else {
      return backplane.refuse(.badArguments, request)
    }
    guard let context = state.withLock({ $0.contexts.name(of: name.context) }) else {
      return backplane.refuse(.invalidContext, request)
    }
    let rest = Array(name.rest)
    let full = context.isEmpty || rest.isEmpty ? context + rest : context + [slash] + rest
    if request.message.mcb.code == QueryName.code { return answerName(name, full, request) }
    if rest.isEmpty { return serveOwn(full, isNamed: false, request) }
    if target(ofLink: full) != nil { return serveOwn(full, isNamed: true, request) }
    let place = state.withLock { $0.place(of: full) }
    switch place {
    case .claimed(let claim, let prefixBytes):
      handOn(
        request, name, leaving: full.count - prefixBytes,
        to: claim.state == .away ? .none : claim.manager, claim.context)
    case .shared:
      serveOwn(full, isNamed: true, request)
    case .unknown:
      search(full) { [self] answer in
        guard let answer else { return backplane.refuse(refusalOfUnknown(request), request) }
        if answer.kind == .sharedContext { return serveOwn(full, isNamed: true, request) }
        handOn(
          request, name, leaving: full.count - answer.prefixBytes, to: answer.manager,
          answer.context)
      }
    }
  }

  /// Whose a name is, as the table says; the manager may be away.
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
      guard let context = state.withLock({ $0.contexts.context(of: full) }) else {
        return backplane.refuse(.noServerResources, request)
      }
      backplane.reply(
        QueryName.Answer(
          manager: server, context: context, prefixBytes: name.name.count, kind: .sharedContext),
        to: request)
    case .unknown: backplane.refuse(.notFound, request)
    }
  }

  /// Forwards a request whose name has `leaving` octets (and a slash) behind another manager's
  /// prefix.
  ///
  /// A whole prefix named for change is nobody's to change. A manager that ended is `none`: what it
  /// served is as that of a host that is silent.
  private func handOn(
    _ request: Request, _ name: ContextName, leaving: Int, to manager: EntityID,
    _ context: ContextID
  ) {
    if leaving == 0, let code = refusalOfChange(request.message.mcb.code) {
      return backplane.refuse(code, request)
    }
    guard manager != .none else { return backplane.refuse(.retransmissionTimeout, request) }
    var message = request.message
    message.mcb.setPair(1, context.rawValue)
    let index = leaving == 0 ? name.name.count : name.name.count - leaving + 1
    // A prefix that ends above this context: the name has to be given from the root.
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

  private func serveOwn(_ name: [UInt8], isNamed: Bool, _ request: Request) {
    switch request.message.mcb.code {
    case QueryObject.code: reply(name, request)
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
    case CreateInstance.code:
      backplane.serve(CreateInstance.self, request) { open(name, $0, request) }
    case AddName.code where isNamed, LinkName.code where isNamed:
      backplane.refuse(.duplicateName, request)
    default: backplane.refuse(.notOwner, request)
    }
  }

  private func open(_ name: [UInt8], _ operation: CreateInstance, _ request: Request) {
    guard target(ofLink: name) == nil else { return backplane.refuse(.tooManyLinks, request) }
    guard operation.mode.contains(.directory) else {
      return backplane.refuse(.isContext, request)
    }
    guard let descriptor = descriptor(of: name) else {
      return backplane.refuse(.noServerResources, request)
    }
    // A shared context has no state to open: its number serves as the instance.
    backplane.reply(
      CreateInstance.Answer(
        instance: InstanceID(rawValue: descriptor.context.rawValue), attributes: [.readable],
        isNew: false, descriptor: descriptor), to: request)
  }

  private func describe(_ context: ContextID, _ request: Request) {
    guard let name = state.withLock({ $0.contexts.name(of: context) }) else {
      return backplane.refuse(.invalidFileID, request)
    }
    reply(name, request)
  }

  private func reply(_ name: [UInt8], _ request: Request) {
    guard let descriptor = descriptor(of: name) else {
      return backplane.refuse(.noServerResources, request)
    }
    backplane.reply(descriptor, to: request)
  }

  /// The records of a shared context: prefixes in the order they were first heard, then links.
  private func read(_ operation: ReadInstance, _ request: Request) {
    let context = ContextID(rawValue: operation.instance.rawValue)
    let found = state.withLock { state in
      state.contexts.name(of: context).map {
        ($0, state.table.components(below: $0), state.local.components(below: $0))
      }
    }
    guard let (name, components, local) = found else {
      return backplane.refuse(.invalidFileID, request)
    }
    var records: [(position: UInt64, name: [UInt8], kind: ObjectKind)] = components.map {
      (UInt64($0.position) + 1, $0.component, .context)
    }
    for (number, link) in links(in: components).enumerated() {
      records.append((UInt64(Claim.claimsMax + number) + 1, link, .symbolicLink))
    }
    let behindLinks = UInt64(Claim.claimsMax) + 8
    records += local.map { (behindLinks + UInt64($0.position), $0.component, .context) }
    var writer = SegmentWriter()
    for record in records where record.position > operation.position {
      let full = name.isEmpty ? record.name : name + [slash] + record.name
      var descriptor = Descriptor(
        kind: record.kind, identity: SharedContexts.identity(of: full))
      descriptor.name = record.name
      descriptor.nextPosition = record.position
      guard writer.bytes.count + descriptor.byteCount <= min(operation.count, 16_384) else {
        break
      }
      descriptor.emit(into: &writer)
    }
    backplane.reply(ReadInstance.Answer(data: writer.bytes), to: request)
  }

  // MARK: what they look like

  /// Nil where the table of contexts is full.
  private func descriptor(of name: [UInt8]) -> Descriptor? {
    let target = target(ofLink: name)
    return state.withLock { state in
      guard let context = state.contexts.context(of: name) else { return nil }
      var descriptor = Descriptor(
        kind: target == nil ? .sharedContext : .symbolicLink,
        identity: SharedContexts.identity(of: name))
      descriptor.context = context
      descriptor.permissions = target == nil ? 0o755 : 0o777
      descriptor.size = UInt64(target?.count ?? 0)
      descriptor.links = target == nil ? 2 : 1
      descriptor.modified = state.changedAt
      descriptor.changed = state.changedAt
      descriptor.accessed = state.changedAt
      descriptor.attributes = [.readable]
      return descriptor
    }
  }

  /// Where `self` or `any` in a shared context leads: this host if it serves there, for `any`
  /// else the first that does; nil for every other name.
  private func target(ofLink name: [UInt8]) -> [UInt8]? {
    let cut = name.lastIndex(of: slash).map { $0 + 1 } ?? 0
    let last = Array(name[cut...])
    guard cut > 0, last == Self.selfName || last == Self.anyName else { return nil }
    let components = state.withLock { $0.table.components(below: Array(name[..<(cut - 1)])) }
    guard links(in: components).contains(last) else { return nil }
    let own = Array(backplane.host.utf8)
    if components.contains(where: { $0.component == own }) { return own }
    return components.first?.component
  }

  private func links(in components: [(position: Int, component: [UInt8])]) -> [[UInt8]] {
    let hosts = state.withLock { Set($0.table.entries.map { Array($0.claim.host.utf8) }) }
    // Only where the components are hosts: a context of other prefixes has no "this host".
    guard !components.isEmpty, components.allSatisfy({ hosts.contains($0.component) }) else {
      return []
    }
    let own = Array(backplane.host.utf8)
    let isServing = components.contains { $0.component == own }
    return isServing ? [Self.selfName, Self.anyName] : [Self.anyName]
  }

  private var slash: UInt8 { ClaimTable.slash }
  private static let selfName = Array("self".utf8)
  private static let anyName = Array("any".utf8)
}
