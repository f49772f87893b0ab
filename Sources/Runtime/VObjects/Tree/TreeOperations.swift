import Synchronization
import VProtocol
import VRuntime

/// The operations on a tree, called by its server after the checks.
final class TreeOperations: Sendable {
  let objects: ObjectServer<TreeContent>
  let root: TreeContext
  let contexts: ContextTable<TreePath, TreePath>
  /// The modification time of what does not change.
  let startedAt: Int64
  let changes = Mutex(TextChanges())
  let refused: Mutex<RefusedLines>
  /// Octets that instances of texts and listings keep.
  let octets: Mutex<Shares>
  private let serveOwn: (@Sendable (Request, Caller) -> Bool)?

  init(
    _ objects: ObjectServer<TreeContent>, _ root: TreeContext,
    serve: (@Sendable (Request, Caller) -> Bool)?
  ) {
    self.objects = objects
    self.root = root
    serveOwn = serve
    octets = Mutex(
      Shares(capacity: TreeContent.octetsMax, ownHost: objects.backplane.host))
    startedAt = objects.backplane.wallClock
    refused = Mutex(RefusedLines(host: objects.backplane.host))
    contexts = ContextTable(objects.backplane)
    _ = contexts.grant([], [], isPinned: true, as: TreeManager.root)
  }

  var handlers: ObjectServer<TreeContent>.Handlers {
    ObjectServer<TreeContent>.Handlers(
      create: { [self] in create($0, $1, $2) }, serve: { [self] in serve($0, $1) },
      serveInstance: { [self] in serveInstance($0, $1) },
      look: { [self] in look($0, $1, $2) },
      close: { [self] instance, done in
        giveBack(instance)
        if case .session(let session) = instance.content.object {
          if instance.isLost { session.lose() } else { session.close() }
        }
        done()
      },
      label: { $0.content.path.isEmpty ? "." : "\(Self.name(of: $0.content.path))" })
  }

  private var backplane: any Backplane { objects.backplane }

  private func serve(_ request: Request, _ caller: Caller) {
    switch request.message.mcb.code {
    case QueryObject.code:
      named(QueryObject.self, request, caller, { $0.name }) { [self] path, object, _ in
        backplane.reply(descriptor(path, object, for: caller), to: request)
      }
    case ModifyObject.code:
      named(ModifyObject.self, request, caller, { $0.name }) { [self] path, object, operation in
        modify(path, object, operation.modification, caller, request)
      }
    case CheckAccess.code:
      named(CheckAccess.self, request, caller, { $0.name }) { [self] _, object, operation in
        let isAllowed = operation.mask & ~object.rights(of: caller) == 0
        backplane.reply(Message(reply: isAllowed ? .ok : .noPermission), to: request)
      }
    case ReadLink.code:
      named(ReadLink.self, request, caller, { $0.name }) { [self] _, object, _ in
        guard case .link(let target, _) = object else {
          return backplane.refuse(.badArguments, request)
        }
        backplane.reply(ReadInstance.Answer(data: target), to: request)
      }
    case QueryStore.code:
      named(QueryStore.self, request, caller, { $0.name }) { [self] _, _, _ in
        backplane.reply(QueryStore.Answer(), to: request)
      }
    case AddName.code: backplane.serve(AddName.self, request) { add($0, caller, request) }
    case RemoveName.code: backplane.serve(RemoveName.self, request) { remove($0, caller, request) }
    case RenameObject.code:
      backplane.serve(RenameObject.self, request) { rename($0, caller, request) }
    case LinkName.code: backplane.refuse(.notOwner, request)
    case QueryName.code: backplane.refuse(.notFound, request)
    case QueryAttribute.code...ChangeAttribute.code: backplane.refuse(.notSupported, request)
    default:
      if serveOwn?(request, caller) != true { backplane.refuse(.illegalRequest, request) }
    }
  }

  /// Calls `body` with the object of a name and its path below the root.
  private func named<Op: Operation>(
    _ type: Op.Type, _ request: Request, _ caller: Caller, _ name: (Op) -> ContextName,
    _ body: @escaping @Sendable (TreePath, TreeObject, Op) -> Void
  ) {
    backplane.serve(type, request) { operation in
      find(name(operation), caller) { [self] found in
        switch found {
        case .object(let path, let object, _): body(path, object, operation)
        case .free: backplane.refuse(.notFound, request)
        case .refused(let code): backplane.refuse(code, request)
        }
      }
    }
  }

  func modify(
    _ path: TreePath, _ object: TreeObject, _ modification: Modification, _ caller: Caller,
    _ request: Request
  ) {
    guard object.rights(of: caller) & 2 != 0 else { return backplane.refuse(.notOwner, request) }
    var refusal = modification.isHarmless ? nil : Refusal(.notOwner)
    if case .file(let file) = object { refusal = file.modify(modification, caller) }
    if let refusal { return objects.refuse(refusal, request) }
    backplane.reply(descriptor(path, object, for: caller), to: request)
  }
}
