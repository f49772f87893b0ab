internal import CFuse3
internal import Glibc
internal import Synchronization
public import VProtocol
public import VRuntime

/// The global name space of V as a file system of this host: FUSE requests become naming and UIO
/// operations, their answers FUSE replies.
///
/// ```
///   program -- kernel -- /dev/fuse -- Session -- Reader -- libfuse -- Mount+request groups
///                                                                          |
///        NodeTable   HandleTable   Users   NameCache                ClientPool, Backplane
/// ```
/// A client of the managers like any other. No thread waits here: an operation is sent with a
/// completion, and the thread that reads the response answers the kernel. Nothing is cached by
/// the kernel: entries (save prefixes, for a second) and attributes are valid for no time.
public final class Mount: Sendable {
  let backplane: any Backplane
  let nameSpace: NameSpace
  let names: NameCache
  let clients: ClientPool
  let session: Session
  let users: Users
  let nodes: NodeTable
  let handles = HandleTable()
  let locks = HeldLocks()
  let backingFiles: BackingFiles
  /// The manager of `/v/.v`: what this mount and its node know of themselves, not listed in the
  /// root.
  ///
  /// Its context 1 is that directory.
  let ownFiles: EntityID
  /// The process that owns all instances: they die with this mount.
  let owner: EntityID
  /// Managers of objects that are kept on a disk.
  private let stores = Mutex<Set<EntityID>>([])
  /// Requests that wait until a handle has been opened anew, which one of them does.
  let reopening = Mutex<[HandleID: [@Sendable (ReplyCode) -> Void]]>([:])
  /// Requests that INTERRUPT can find, by their unique number.
  let waiting = Mutex<[UInt64: FuseRequest]>([:])
  let held = Mutex(HeldRequests())

  /// Mounts on the directory `mountPoint` and serves until `unmount`.
  ///
  /// `source` is what mount(8) shows as the device; `nameSpace` is what is mounted.
  /// `serveOwnFiles` makes the manager of `/v/.v`, given the text of what is open here.
  public init(
    _ backplane: any Backplane, _ nameSpace: NameSpace, mountPoint: String, source: String,
    names: NameCache, clients: ClientPool, users: some UserNames,
    serveOwnFiles: (_ uio: @escaping @Sendable () -> String) -> EntityID
  ) throws(MountError) {
    self.backplane = backplane
    self.nameSpace = nameSpace
    self.names = names
    self.clients = clients
    self.users = Users(table: users)
    nodes = NodeTable(
      root: Node.Object(
        tree: Tree(prefix: []), identity: nameSpace.identity, kind: .sharedContext,
        manager: nameSpace.directory, context: nameSpace.root))
    session = try Session(mountPoint: mountPoint, source: source)
    backingFiles = BackingFiles(fuse: session.descriptor)
    ownFiles = serveOwnFiles { [handles] in handles.text }
    owner = backplane.makeClient(user: "root")
    try session.start(self)
    backplane.watch(session.descriptor) { [self] in serve() }
  }

  /// Takes the mount out of the name space at once.
  ///
  /// What is still open on it is served on.
  public func unmount() { session.unmount() }

  /// Managers that are remembered as stores: more than a cluster has.
  private static let storesMax = 1024

  func isStore(_ manager: EntityID) -> Bool { stores.withLock { $0.contains(manager) } }

  /// A manager has shown an object: one whose directories are on a disk is a store.
  func note(_ object: Descriptor, of manager: EntityID) {
    guard object.kind == .context, object.attributes.contains(.storage) else { return }
    stores.withLock { stores in
      if stores.count >= Self.storesMax { stores = [] }
      stores.insert(manager)
    }
  }

  static let ownName = Array(".v".utf8)
  /// Its context, at the manager that serves it.
  static let ownRoot = ContextID(rawValue: 1)

  private func serve() {
    let isEnded = session.serve(admit: { admit($0, bytes: $1) }) { unique in
      guard let request = waiting.withLock({ $0[unique] }) else { return endHeld(unique) }
      request.interrupt()
      return true
    }
    guard isEnded else { return }
    backplane.unwatch(session.descriptor)
    backplane.retire(owner)
  }

  /// The mount that libfuse was given as user data.
  ///
  /// The watch holds the mount until the session ends, and every request holds it after that.
  static func of(_ userData: UnsafeMutableRawPointer?) -> Mount {
    unsafe Unmanaged<Mount>.fromOpaque(userData!).takeUnretainedValue()
  }
}
