import Synchronization
import VObjects
public import VProtocol
package import VRuntime
package import VStore

/// The file server: serves directories of its host's disk as UIO objects with names.
///
/// An operation that only reads is tried at once, on the thread that brought the request. If it
/// would have to wait for the disk, or if it changes something, it runs on a disk thread.
public final class FileServer: Sendable {
  let backplane: any Backplane
  let store: any FileStore
  let users: any UserTable
  let exports = ExportTable()
  let objects: ObjectServer<FileContent>
  let contexts: ContextTable<ObjectKey, HeldObject>
  let locks: Locks
  let claims: PrefixClaims
  /// How often each object is open.
  let openings = Mutex<[ObjectKey: Int]>([:])
  let isSweepDue = Atomic(false)

  /// Starts serving; `ExportFailure` if a prefix is empty or used twice.
  ///
  /// An export whose path is not a directory is listed, and gets its contents when it is one.
  package init(
    _ backplane: any Backplane, store: any FileStore, users: any UserTable, exports: [Export],
    limits: FileLimits = FileLimits(descriptors: Int.max)
  ) throws(ExportFailure) {
    precondition(exports.count <= Export.exportsMax, "at most 256 exports")
    self.backplane = backplane
    self.store = store
    self.users = users
    contexts = ContextTable<ObjectKey, HeldObject>(backplane, capacity: limits.contexts)
    claims = PrefixClaims(backplane, [])
    objects = ObjectServer(backplane, claims: claims, capacity: limits.instances)
    locks = Locks(objects, store, limits)
    try Self.check(exports)
    for export in exports {
      let (_, context) = try add(export)
      claims.add(export.prefix, context)
    }
    objects.start(
      ObjectServer.Handlers(
        create: { [self] in create($0, $1, $2) }, serve: { [self] in serve($0, $1) },
        serveInstance: { [self] in serveInstance($0, $1) },
        close: { [self] in close($0, $1) }, label: { [self] in label(of: $0) },
        place: { [store] in (try? $0.content.file).flatMap { store.path(of: $0.handle) } }))
  }

  /// Claims the prefix of every export in this host's directory; `completion` is called for each,
  /// and once more with `duplicateName` for one that is lost later to a newer claim.
  ///
  /// A prefix that another host has (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (Export, ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { [exports] number, code in completion(exports[number], code) }
  }

  /// Instances open now.
  package var instanceCount: Int { objects.instances.count }

  /// Requests that wait for a lock now.
  package var lockWaiterCount: Int { objects.waits.count }

  /// The prefix and the inode of the object.
  private func label(of instance: FileInstance) -> String {
    let key = instance.content.key
    let prefix = String(decoding: exports[key.export].prefix, as: UTF8.self)
    return "\(prefix) \(key.identity.inode)"
  }

  private func serve(_ request: Request, _ caller: Caller) {
    switch request.message.mcb.code {
    case QueryObject.code: perform(request, caller, .atOnce, queryObject)
    case ModifyObject.code: perform(request, caller, .mayWait, modifyObject)
    case AddName.code: perform(request, caller, .mayWait, addName)
    case LinkName.code: perform(request, caller, .mayWait, linkName)
    case RemoveName.code: perform(request, caller, .mayWait, removeName)
    case RenameObject.code: perform(request, caller, .mayWait, renameObject)
    case ReadLink.code: perform(request, caller, .atOnce, readLink)
    case CheckAccess.code: perform(request, caller, .atOnce, checkAccess)
    case QueryStore.code: perform(request, caller, .atOnce, queryStore)
    case QueryAttribute.code: perform(request, caller, .mayWait, queryAttribute)
    case ListAttributes.code: perform(request, caller, .mayWait, listAttributes)
    case ChangeAttribute.code: perform(request, caller, .mayWait, changeAttribute)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  private func serveInstance(_ request: Request, _ instance: FileInstance) {
    switch request.message.mcb.code {
    case QueryInstance.code: perform(request, instance, .atOnce, queryInstance)
    case ModifyInstance.code: perform(request, instance, .mayWait, modifyInstance)
    case ReadInstance.code: perform(request, instance, .atOnce, readInstance)
    case WriteInstance.code: perform(request, instance, .atOnce, writeInstance)
    case SyncInstance.code: perform(request, instance, .mayWait, syncInstance)
    case LockInstance.code: lockInstance(request, instance)
    case QueryLock.code: perform(request, instance, .atOnce, queryLock)
    default: backplane.refuse(.illegalRequest, request)
    }
  }
}

/// One try at a request: its origin and whether the try may wait.
struct Turn: Sendable {
  var request: Request
  var caller: Caller
  var patience: Patience
  /// Whether a place for an instance is reserved, which is given back if none is made.
  var keepsPlace = false
  /// Whether the whole operation may be done once more.
  var mayStartAnew = false
  /// Earlier tries that were held up.
  var heldUpCount = 0

  /// Ends a try that must not wait, before it changes anything.
  func mustBeAbleToWait() throws(StoreFailure) {
    guard patience == .mayWait else { throw .wouldWait }
  }
}

/// The answer to a request.
struct Reply: Sendable {
  var message: Message
  var descriptor: PassedDescriptor?
}

extension FileServer {
  typealias Work<Op: Operation> = @Sendable (Op, Turn) throws(StoreFailure) -> Op.Answer
  typealias InstanceWork<Op: Operation> =
    @Sendable (Op, FileInstance, Turn) throws(StoreFailure) -> Op.Answer
  private typealias Try = @Sendable (Turn) throws(StoreFailure) -> Reply

  /// Answers a request with the result of `work`, once.
  ///
  /// If a try at once would wait, `work` is repeated on a disk thread; if another program holds it
  /// up, after a pause. So it must have no effect before the store stops throwing `wouldWait` and
  /// `heldUp`.
  private func perform<Op: Operation>(
    _ request: Request, _ caller: Caller, _ patience: Patience, _ work: @escaping Work<Op>
  ) {
    backplane.serve(Op.self, request) { operation in
      let turn = Turn(
        request: request, caller: caller, patience: patience, mayStartAnew: Op.isIdempotent)
      attempt(turn) {
        turn throws(StoreFailure) in Reply(message: try work(operation, turn).message)
      }
    }
  }

  private func perform<Op: Operation>(
    _ request: Request, _ instance: FileInstance, _ patience: Patience,
    _ work: @escaping InstanceWork<Op>
  ) {
    perform(request, instance.caller, patience) {
      (operation: Op, turn) throws(StoreFailure) in try work(operation, instance, turn)
    }
  }

  /// Opens, after a place for the instance is reserved: so nothing is made in vain.
  private func create(_ operation: CreateInstance, _ caller: Caller, _ request: Request) {
    do throws(Refusal) {
      try objects.instances.reserve(for: caller)
    } catch {
      return objects.refuse(error, request)
    }
    let turn = Turn(request: request, caller: caller, patience: .atOnce, keepsPlace: true)
    attempt(turn) { [self] turn throws(StoreFailure) in try createInstance(operation, turn) }
  }

  private func attempt(_ turn: Turn, _ work: @escaping Try) {
    guard turn.patience == .atOnce else { return attemptOnDisk(turn, work) }
    attemptNow(turn, work)
  }

  private func attemptOnDisk(_ turn: Turn, _ work: @escaping Try) {
    var turn = turn
    turn.patience = .mayWait
    backplane.disk(turn.request.priority) { [self, turn] in attemptNow(turn, work) }
  }

  private func attemptNow(_ turn: Turn, _ work: @escaping Try) {
    do throws(StoreFailure) {
      let reply = try work(turn)
      if let descriptor = reply.descriptor {
        backplane.reply(reply.message, to: turn.request, passing: descriptor)
      } else {
        backplane.reply(reply.message, to: turn.request)
      }
    } catch {
      switch error {
      case .refused(let code):
        if turn.keepsPlace { objects.instances.cancel(for: turn.caller) }
        backplane.refuse(code, turn.request)
      case .wouldWait:
        precondition(turn.patience == .atOnce, "a store that may wait does not refuse to")
        attemptOnDisk(turn, work)
      case .heldUp(let code):
        guard let pause = Self.pause(after: turn.heldUpCount) else {
          if turn.keepsPlace { objects.instances.cancel(for: turn.caller) }
          return backplane.refuse(code, turn.request)
        }
        var next = turn
        next.heldUpCount += 1
        backplane.after(pause) { [self, next] in attemptOnDisk(next, work) }
      }
    }
  }

  /// The pause before the next try of an operation that was held up so often; nil after a minute in
  /// all, which is more than the 45 s that Linux gives the holder of a lease.
  package static func pause(after count: Int) -> TimeSpan? {
    let (doublings, first) = (8, Int64(2))
    if count < doublings { return .milliseconds(first << Int64(count)) }
    return count < doublings + 120 ? .milliseconds(500) : nil
  }
}
