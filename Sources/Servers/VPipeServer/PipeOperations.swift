import VObjects
import VProtocol
import VRuntime

/// The operations on pipes, called by their server after the checks.
final class PipeOperations: Sendable {
  let pipes: Pipes
  var objects: ObjectServer<PipeContent> { pipes.objects }
  var backplane: any Backplane { pipes.objects.backplane }

  init(_ objects: ObjectServer<PipeContent>) { pipes = Pipes(objects) }

  var handlers: ObjectServer<PipeContent>.Handlers {
    ObjectServer<PipeContent>.Handlers(
      create: { [self] in create($0, $1, $2) }, serve: { [self] in serve($0, $1) },
      serveInstance: { [self] in serveInstance($0, $1) },
      look: { [self] in look($0, $1, $2) },
      close: { [pipes] instance, done in
        if case .end(let end, _) = instance.content {
          pipes.update { ((), $0.table.release(end)) }
        }
        done()
      },
      label: { [self] in label($0) })
  }

  private func serve(_ request: Request, _ caller: Caller) {
    switch request.message.mcb.code {
    case QueryObject.code:
      backplane.serve(QueryObject.self, request) { operation in
        named(operation.name, request) { backplane.reply(descriptor($0), to: request) }
      }
    case ModifyObject.code:
      backplane.serve(ModifyObject.self, request) { operation in
        named(operation.name, request) { modify($0, operation.modification, caller, request) }
      }
    case CheckAccess.code:
      backplane.serve(CheckAccess.self, request) { operation in
        named(operation.name, request) { object in
          let isAllowed = operation.mask & ~rights(of: object, caller) == 0
          backplane.refuse(isAllowed ? .ok : .noPermission, request)
        }
      }
    case ReadLink.code: backplane.refuse(.badArguments, request)
    case QueryStore.code: backplane.reply(QueryStore.Answer(), to: request)
    case AddName.code, LinkName.code, RenameObject.code: backplane.refuse(.notSupported, request)
    case RemoveName.code: backplane.serve(RemoveName.self, request) { remove($0, caller, request) }
    default: backplane.refuse(.illegalRequest, request)
    }
  }
}

// MARK: - Names

extension PipeOperations {
  enum Object {
    case root
    case pipe(PipeTable.PipeID, PipeTable.Entry)
    /// A name that a pipe could have.
    case free([UInt8])
    case refused(ReplyCode)
  }

  func find(_ name: ContextName, in table: PipeTable) -> Object {
    let components = name.rest.split(separator: UInt8(ascii: "/")).map(Array.init)
    if name.context != .none && name.context != Pipes.root {
      guard let identifier = pipes.pipe(of: name.context), let entry = table[identifier],
        entry.name != nil
      else { return .refused(.invalidContext) }
      return components.isEmpty ? .pipe(identifier, entry) : .refused(.notContext)
    }
    guard let first = components.first else { return .root }
    guard first.count <= Descriptor.nameBytesMax else { return .refused(.nameTooLong) }
    guard let identifier = table[first], let entry = table[identifier] else {
      return components.count == 1 ? .free(first) : .refused(.notFound)
    }
    return components.count == 1 ? .pipe(identifier, entry) : .refused(.notContext)
  }

  /// Calls `body` with the object of a name, if there is one.
  private func named(_ name: ContextName, _ request: Request, _ body: (Object) -> Void) {
    switch pipes.look({ find(name, in: $0.table) }) {
    case .refused(let code): backplane.refuse(code, request)
    case .free: backplane.refuse(.notFound, request)
    case let object: body(object)
    }
  }

  func descriptor(_ object: Object) -> Descriptor {
    guard case .pipe(let identifier, let entry) = object else { return pipes.rootDescriptor() }
    return pipes.descriptor(identifier, entry)
  }

  private func rights(of object: Object, _ caller: Caller) -> UInt32 {
    guard case .pipe(_, let entry) = object else { return 7 }
    return entry.rights(of: caller)
  }

  /// The context is sticky: a pipe can be removed only by its owner and root.
  private func remove(_ operation: RemoveName, _ caller: Caller, _ request: Request) {
    let code: ReplyCode = pipes.update { state in
      switch find(operation.name, in: state.table) {
      case .refused(let code): return (code, [])
      case .free: return (.notFound, [])
      case .root: return (.notOwner, [])
      case .pipe(let identifier, let entry):
        guard !operation.isContext else { return (.notContext, []) }
        guard entry.isOwned(by: caller) else { return (.notOwner, []) }
        return (.ok, state.table.remove(identifier))
      }
    }
    backplane.refuse(code, request)
  }

  /// The owner may change permissions, and root the owner; a size or times mean nothing for a pipe.
  func modify(
    _ object: Object, _ modification: Modification, _ caller: Caller, _ request: Request
  ) {
    guard case .pipe(let identifier, _) = object else {
      return backplane.refuse(.notOwner, request)
    }
    let now = backplane.wallClock
    let result: Result<PipeTable.Entry, Refusal> = pipes.update { state in
      guard var entry = state.table[identifier] else { return (.failure(Refusal(.notFound)), []) }
      if let code = refusal(of: modification, entry, caller) {
        return (.failure(Refusal(code)), [])
      }
      if let permissions = modification.permissions { entry.permissions = permissions & 0o777 }
      if let owner = modification.owner { entry.owner = owner }
      entry.changed = now
      state.table[identifier] = entry
      return (.success(entry), [])
    }
    switch result {
    case .success(let entry): backplane.reply(pipes.descriptor(identifier, entry), to: request)
    case .failure(let refusal): objects.refuse(refusal, request)
    }
  }

  private func refusal(
    of modification: Modification, _ entry: PipeTable.Entry, _ caller: Caller
  ) -> ReplyCode? {
    if modification.permissions != nil || modification.owner != nil || modification.group != nil {
      guard entry.isOwned(by: caller), modification.owner == nil || caller.isRoot else {
        return .notOwner
      }
      return modification.owner.map(Self.isOwner) == false ? .badArguments : nil
    }
    let mayChange = entry.isOwned(by: caller) || entry.rights(of: caller) & 2 != 0
    return mayChange ? nil : .noPermission
  }

  /// An owner's name must fit into a descriptor.
  static func isOwner(_ user: String) -> Bool {
    user.utf8.count <= Descriptor.nameBytesMax
  }

  /// A name that Linux would not misinterpret.
  static func isName(_ name: [UInt8]) -> Bool {
    !name.contains(0) && !name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8)
  }
}
