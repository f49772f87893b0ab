import Synchronization
public import VProtocol
package import VRuntime
package import VStore

/// The file server: serves directories of its host's disk as UIO objects with names.
///
/// One entity takes all operations. Another, in the name handling group, answers only QueryName,
/// and only for prefixes of this server's exports: for anything else it is silent.
///
/// An operation is tried at once, on the thread that brought the request, where it only looks;
/// if the disk would have to be waited for, or if it changes something, it runs on a disk thread.
public final class FileServer: Sendable {
  let backplane: any Backplane
  let store: any FileStore
  let users: any UserTable
  let exports: [Export]
  let contexts: Contexts
  let instances: Instances
  let locks: Locks
  let claims: PrefixClaims
  let owners: LifeWatch
  private let isSweepDue = Atomic(false)

  /// Starts serving; `ExportFailure` where a prefix is empty or used twice or a path is no
  /// directory.
  package init(
    _ backplane: any Backplane, store: any FileStore, users: any UserTable, exports: [Export],
    contexts: Contexts? = nil, instances: Instances? = nil
  ) throws(ExportFailure) {
    let contexts = contexts ?? Contexts(key: backplane.random())
    let instances = instances ?? Instances(key: backplane.random())
    precondition(exports.count <= Export.exportsMax, "at most 256 exports")
    self.backplane = backplane
    self.store = store
    self.users = users
    self.contexts = contexts
    self.instances = instances
    let locks = Locks(backplane, store)
    self.locks = locks
    owners = LifeWatch(backplane, of: { instances.owners() }) { owner, state in
      guard state == nil else { return }
      instances.removeAll(of: owner)
      locks.release { _, process in process == owner }
    }
    var roots: [ContextID] = []
    for (number, export) in exports.enumerated() {
      do throws(StoreFailure) {
        let isTaken = exports[..<number].contains { $0.prefix == export.prefix }
        guard !export.prefix.isEmpty && !isTaken else { throw .refused(.badArguments) }
        _ = try RelativePath(export.prefix)
        let root = HeldObject(try store.openRoot(export.path), of: store, export: number)
        let identity = try store.describe(root.handle).identity
        let key = Contexts.Key(export: number, identity: identity)
        roots.append(contexts.grant(root, key, isPinned: true))
      } catch {
        guard case .refused(let code) = error else { preconditionFailure("roots may wait") }
        throw ExportFailure(export: export, code: code)
      }
    }
    self.exports = exports
    claims = PrefixClaims(
      backplane, zip(exports, roots).map { (name: $0.prefix, context: $1) })
    claims.answer(for: backplane.makeServer(knowsPrincipals: true) { [self] in serve($0) })
  }

  /// Claims the prefix of every export in this host's directory; `completion` is called for each,
  /// and once more with `duplicateName` for one that is lost later to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (Export, ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { [exports] number, code in completion(exports[number], code) }
  }

  /// Instances open now.
  public var instanceCount: Int { instances.count }

  /// Requests that wait for a lock now.
  public var lockWaiterCount: Int { locks.waiterCount }

  /// Every open instance as a line: its number, this manager, its owner and that one's host, how it
  /// was opened, the prefix and the inode of the object.
  public var instancesText: String {
    instances.all.map { identifier, instance in
      let prefix = String(decoding: exports[instance.file.export].prefix, as: UTF8.self)
      return "\(identifier.rawValue) \(claims.manager) \(instance.owner) \(instance.host ?? "-") "
        + "\(instance.mode.words) \(prefix) \(instance.identity.inode)\n"
    }.joined()
  }

  private func serve(_ request: Request) {
    switch request.message.mcb.code {
    case QueryName.code: perform(request, .atOnce, queryName)
    case QueryObject.code: perform(request, .atOnce, queryObject)
    case ModifyObject.code: perform(request, .mayWait, modifyObject)
    case AddName.code: perform(request, .mayWait, addName)
    case LinkName.code: perform(request, .mayWait, linkName)
    case RemoveName.code: perform(request, .mayWait, removeName)
    case RenameObject.code: perform(request, .mayWait, renameObject)
    case ReadLink.code: perform(request, .atOnce, readLink)
    case CheckAccess.code: perform(request, .atOnce, checkAccess)
    case QueryStore.code: perform(request, .atOnce, queryStore)
    case QueryAttribute.code: perform(request, .mayWait, queryAttribute)
    case ListAttributes.code: perform(request, .mayWait, listAttributes)
    case ChangeAttribute.code: perform(request, .mayWait, changeAttribute)
    case CreateInstance.code: perform(request, .atOnce, createInstance)
    case QueryInstance.code: perform(request, .atOnce, queryInstance)
    case ModifyInstance.code: perform(request, .mayWait, modifyInstance)
    case ReadInstance.code: perform(request, .atOnce, readInstance)
    case WriteInstance.code: perform(request, .atOnce, writeInstance)
    case ReleaseInstance.code: perform(request, .atOnce, releaseInstance)
    case SyncInstance.code: perform(request, .mayWait, syncInstance)
    case LockInstance.code: lockInstance(request)
    case QueryLock.code: perform(request, .atOnce, queryLock)
    case CancelWait.code: perform(request, .atOnce, cancelWait)
    case ListInstances.code: backplane.serveInstances(instancesText, request)
    case SpreadClaims.code: claims.handleLoss(request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }
}

/// One try at a request: where it comes from and whether the try may wait.
struct Turn: Sendable {
  var request: Request
  var patience: Patience
  /// Whether nothing is lost if the whole operation is done once more.
  var mayStartAnew = false
  /// Tries before this one that were held up.
  var heldUpCount = 0

  /// Ends a try that must not wait, before it changes anything.
  func mustBeAbleToWait() throws(StoreFailure) {
    guard patience == .mayWait else { throw .wouldWait }
  }
}

extension FileServer {
  typealias Work<Op: Operation> =
    @Sendable (Op, Turn) throws(StoreFailure) -> Op.Answer

  /// Answers a request with what `work` says, once.
  ///
  /// Where a try at once would wait, `work` starts anew on a disk thread, and where somebody else
  /// holds it up, after a pause; so it leaves no trace before the store has stopped saying
  /// `wouldWait` and `heldUp`.
  private func perform<Op: Operation>(
    _ request: Request, _ patience: Patience, _ work: @escaping Work<Op>
  ) {
    backplane.serve(Op.self, request) { operation in
      switch patience {
      case .atOnce:
        let turn = Turn(
          request: request, patience: .atOnce, mayStartAnew: Op.isIdempotent)
        attempt(operation, turn, work)
      case .mayWait: attemptOnDisk(operation, request, work)
      }
    }
  }

  private func attemptOnDisk<Op: Operation>(
    _ operation: Op, _ request: Request, heldUpCount: Int = 0, _ work: @escaping Work<Op>
  ) {
    backplane.disk { [self] in
      let turn = Turn(
        request: request, patience: .mayWait, mayStartAnew: Op.isIdempotent,
        heldUpCount: heldUpCount)
      attempt(operation, turn, work)
    }
  }

  private func attempt<Op: Operation>(
    _ operation: Op, _ turn: Turn, _ work: @escaping Work<Op>
  ) {
    do throws(StoreFailure) {
      let answer = try work(operation, turn)
      if let descriptor = passedDescriptor(with: answer, turn.request) {
        backplane.reply(answer.message, to: turn.request, passing: descriptor)
      } else {
        backplane.reply(answer, to: turn.request)
      }
    } catch {
      switch error {
      case .refused(let code): backplane.refuse(code, turn.request)
      case .wouldWait:
        precondition(turn.patience == .atOnce, "a store that may wait does not refuse to")
        attemptOnDisk(operation, turn.request, work)
      case .heldUp(let code):
        guard let pause = Self.pause(after: turn.heldUpCount) else {
          return backplane.refuse(code, turn.request)
        }
        backplane.after(pause) { [self] in
          attemptOnDisk(operation, turn.request, heldUpCount: turn.heldUpCount + 1, work)
        }
      }
    }
  }

  /// How long to wait before the next try of an operation that was held up so often before; nil
  /// where it has been a minute in all, more than the 45 s that Linux gives who has a lease.
  package static func pause(after count: Int) -> TimeSpan? {
    let (doublings, first) = (8, Int64(2))
    if count < doublings { return .milliseconds(first << Int64(count)) }
    return count < doublings + 120 ? .milliseconds(500) : nil
  }
}

// MARK: Descriptors for clients of this host

extension FileServer {
  /// The open file of a new instance, for a client here that can use it without the server.
  private func passedDescriptor(
    with answer: some OperationAnswer, _ request: Request
  ) -> PassedDescriptor? {
    guard request.isLocal, request.message.mcb.code == CreateInstance.code,
      store.handlesAreDescriptors, let opened = answer as? CreateInstance.Answer,
      let instance = instances[opened.instance], !instance.mode.contains(.directory)
    else { return nil }
    return PassedDescriptor(instance.file.handle.rawValue, heldBy: instance.file)
  }
}

// MARK: Objects without names

extension FileServer {
  /// Sees to it that a file which lost its last name does not keep its room on the disk because a
  /// context holds it; called whenever a context was granted.
  func sweepLater() {
    guard !isSweepDue.exchange(true, ordering: .acquiringAndReleasing) else { return }
    backplane.after(Self.sweepInterval) { [self] in
      backplane.disk { [self] in sweep() }
    }
  }

  /// Does `work`, which may take the last name of what `name` is, and gives the room of a file
  /// back at once: what is written next may need it.
  func dropping(
    _ name: [UInt8], in directory: HeldObject, as who: Credentials,
    _ work: () throws(StoreFailure) -> Void
  ) throws(StoreFailure) {
    let path = try? RelativePath(name)
    let victim = path.flatMap { try? store.lookUp($0, in: directory.handle, as: who, .mayWait) }
    defer { if let victim { store.close(victim) } }
    try work()
    if let victim { dropIfNameless(victim, export: directory.export) }
  }

  /// Lets go of a file that has no name any more and is not open.
  func dropIfNameless(_ object: StoreHandle, export: Int) {
    guard let state = try? store.describe(object), state.kind == .file, state.links == 0 else {
      return
    }
    let key = Contexts.Key(export: export, identity: state.identity)
    if !instances.openKeys().contains(key) { contexts.drop(key) }
  }

  private func sweep() {
    isSweepDue.store(false, ordering: .releasing)
    for object in contexts.all() { dropIfNameless(object.handle, export: object.export) }
    if contexts.holdsMoreThanRoots { sweepLater() }
  }

  /// The room of a removed file is free after this long; looking at a full table takes 10 ms.
  private static let sweepInterval = TimeSpan.seconds(5)
}
