import Synchronization
import VProtocol
import VRuntime

/// The operations on a tree: what its server's procedure does.
final class TreeOperations: Sendable {
  let instances = TreeInstances()
  let backplane: any Backplane
  let root: TreeContext
  private let identify: @Sendable (Principal) -> String
  let contexts = Mutex(TreeContexts())
  let owners: LifeWatch
  /// What does not change has this time.
  let startedAt: Int64
  let changes = Mutex(TextChanges())
  let refused = Mutex(RefusedLines())

  init(
    _ backplane: any Backplane, _ root: TreeContext,
    identify: @escaping @Sendable (Principal) -> String
  ) {
    self.backplane = backplane
    self.root = root
    self.identify = identify
    startedAt = backplane.wallClock
    owners = LifeWatch(backplane, of: { [instances] in instances.owners }) {
      [instances] owner, state in
      if state == nil { instances.removeAll(of: owner) }
    }
  }

  func serve(_ request: Request) {
    let code = request.message.mcb.code
    switch code {
    case QueryStore.code: backplane.reply(QueryStore.Answer(), to: request)
    case CancelWait.code:
      backplane.serve(CancelWait.self, request) { cancel($0, request) }
    case QueryInstance.code...SyncInstance.code:
      serveInstance(request, caller(of: request))
    case QueryObject.code...CheckAccess.code, CreateInstance.code:
      serveName(request, caller(of: request))
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  /// Every open instance as a line.
  func lines(of server: EntityID) -> String {
    instances.all.map { identifier, instance in
      "\(identifier.rawValue) \(server) \(instance.owner) "
        + "\(instance.caller.principal.host) \(instance.mode.words) "
        + "\(instance.path.isEmpty ? "." : instance.path)\n"
    }.joined()
  }

  private func caller(of request: Request) -> TreeCaller {
    let principal = request.principal ?? Principal(user: "nobody", host: "")
    return TreeCaller(principal: principal, user: identify(principal))
  }

  func refuse(_ refusal: Refusal, _ request: Request) {
    backplane.reply(Message(refusal), to: request)
  }

  // MARK: operations on names

  private func serveName(_ request: Request, _ caller: TreeCaller) {
    switch request.message.mcb.code {
    case QueryObject.code:
      named(QueryObject.self, request, { $0.name }) { [self] path, object, _ in
        backplane.reply(descriptor(path, object, for: caller), to: request)
      }
    case ModifyObject.code:
      named(ModifyObject.self, request, { $0.name }) { [self] path, object, operation in
        modify(path, object, operation.modification, caller, request)
      }
    case CheckAccess.code:
      named(CheckAccess.self, request, { $0.name }) { [self] _, object, operation in
        let isAllowed = operation.mask & ~object.rights(of: caller) == 0
        backplane.reply(Message(reply: isAllowed ? .ok : .noPermission), to: request)
      }
    case ReadLink.code:
      named(ReadLink.self, request, { $0.name }) { [self] _, object, _ in
        guard case .link(let target, _) = object else {
          return backplane.refuse(.badArguments, request)
        }
        backplane.reply(ReadInstance.Answer(data: Array(target.utf8)), to: request)
      }
    case AddName.code:
      backplane.serve(AddName.self, request) { add($0, caller, request) }
    case RemoveName.code:
      backplane.serve(RemoveName.self, request) { remove($0, caller, request) }
    case RenameObject.code:
      backplane.serve(RenameObject.self, request) { rename($0, caller, request) }
    case CreateInstance.code:
      backplane.serve(CreateInstance.self, request) { create($0, caller, request) }
    default: backplane.refuse(.notOwner, request)
    }
  }

  /// Calls `body` with the object named and its path below the root.
  private func named<Op: Operation>(
    _ type: Op.Type, _ request: Request, _ name: (Op) -> ContextName,
    _ body: @escaping @Sendable (String, TreeObject, Op) -> Void
  ) {
    backplane.serve(type, request) { operation in
      find(name(operation)) { [self] found in
        switch found {
        case .object(let path, let object, _): body(path, object, operation)
        case .free: backplane.refuse(.notFound, request)
        case .refused(let code): backplane.refuse(code, request)
        }
      }
    }
  }

  /// What programs do around writing is no error: cutting to a size and setting times.
  func modify(
    _ path: String, _ object: TreeObject, _ modification: Modification, _ caller: TreeCaller,
    _ request: Request
  ) {
    guard object.rights(of: caller) & 2 != 0 else { return backplane.refuse(.notOwner, request) }
    let isHarmless =
      modification.permissions == nil && modification.owner == nil && modification.group == nil
    var refusal = isHarmless ? nil : Refusal(.notOwner)
    if case .file(let file) = object { refusal = file.modify(modification, caller) }
    if let refusal { return refuse(refusal, request) }
    backplane.reply(descriptor(path, object, for: caller), to: request)
  }

  private func add(_ operation: AddName, _ caller: TreeCaller, _ request: Request) {
    make(
      operation.name, kind: operation.kind, permissions: operation.permissions,
      target: String(decoding: operation.target, as: UTF8.self), caller, request
    ) { [self] path, object in
      backplane.reply(descriptor(path, object, for: caller), to: request)
    }
  }

  /// Makes a name and calls `then` with what it stands for now.
  func make(
    _ name: ContextName, kind: ObjectKind, permissions: UInt32, target: String = "",
    _ caller: TreeCaller, _ request: Request,
    then: @escaping @Sendable (String, TreeObject) -> Void
  ) {
    find(name) { [self] found in
      switch found {
      case .refused(let code): backplane.refuse(code, request)
      case .object: backplane.refuse(.duplicateName, request)
      case .free(let path, let context, let last):
        guard let make = context.make, [.file, .context, .symbolicLink].contains(kind) else {
          return backplane.refuse(.notOwner, request)
        }
        guard context.access.rights(of: caller) & 2 != 0 else {
          return backplane.refuse(.noPermission, request)
        }
        make(
          TreeContext.Making(
            name: last, kind: kind, permissions: permissions & 0o7777, target: target,
            caller: caller)
        ) { [self] refusal in
          if let refusal { return refuse(refusal, request) }
          guard let object = context.object(last) else {
            return backplane.refuse(.notFound, request)
          }
          then(path, object)
        }
      }
    }
  }

  private func remove(_ operation: RemoveName, _ caller: TreeCaller, _ request: Request) {
    find(operation.name) { [self] found in
      switch found {
      case .refused(let code): backplane.refuse(code, request)
      case .free: backplane.refuse(.notFound, request)
      case .object(let path, let object, let context):
        guard let remove = context?.remove else { return backplane.refuse(.notOwner, request) }
        var isContext = false
        if case .context = object { isContext = true }
        guard isContext == operation.isContext else {
          return backplane.refuse(isContext ? .isContext : .notContext, request)
        }
        guard let context, context.access.rights(of: caller) & 2 != 0 else {
          return backplane.refuse(.noPermission, request)
        }
        let components = path.split(separator: "/").map(String.init)
        let last = components.last ?? ""
        let take: @Sendable () -> Void = { [self] in
          remove(last, caller) { [self] refusal in
            if let refusal { return refuse(refusal, request) }
            backplane.reply(Done(), to: request)
          }
        }
        guard context.isKeptWhileOpen else { return take() }
        unlessOpen(components.dropLast().joined(separator: "/"), caller, request, take)
      }
    }
  }

  /// Linux closes a directory a moment after its program has.
  private static let closingLimit = TimeSpan.milliseconds(50)

  private func unlessOpen(
    _ path: String, _ caller: TreeCaller, _ request: Request, isAgain: Bool = false,
    _ body: @escaping @Sendable () -> Void
  ) {
    guard instances.newest(of: path, openedBy: caller.principal) != nil else { return body() }
    if isAgain {
      return refuse(Refusal(.inUse, "rm -r removes nothing here, only rm by name"), request)
    }
    backplane.after(Self.closingLimit) { [self] in
      unlessOpen(path, caller, request, isAgain: true, body)
    }
  }

  /// A new name in the same context; what goes to another one is copied by programs that are told
  /// so.
  private func rename(_ operation: RenameObject, _ caller: TreeCaller, _ request: Request) {
    find(operation.old) { [self] found in
      guard case .object(let path, _, let context?) = found else {
        if case .refused(let code) = found { return backplane.refuse(code, request) }
        return backplane.refuse(.notFound, request)
      }
      guard let rename = context.rename else { return backplane.refuse(.notOwner, request) }
      guard context.access.rights(of: caller) & 2 != 0 else {
        return backplane.refuse(.noPermission, request)
      }
      find(ContextName(operation.newContext, operation.newName)) { [self] found in
        let (newPath, isTaken) =
          switch found {
          case .object(let path, _, _): (path, true)
          case .free(let path, _, _): (path, false)
          case .refused: ("", false)
          }
        if isTaken && operation.mode == .noReplace {
          return backplane.refuse(.duplicateName, request)
        }
        let (old, new) = (path.split(separator: "/"), newPath.split(separator: "/"))
        guard operation.mode != .exchange, old.dropLast() == new.dropLast(), let last = new.last
        else { return backplane.refuse(.differentManager, request) }
        rename(String(old[old.count - 1]), String(last), caller) { [self] refusal in
          if let refusal { return refuse(refusal, request) }
          backplane.reply(Done(), to: request)
        }
      }
    }
  }
}
