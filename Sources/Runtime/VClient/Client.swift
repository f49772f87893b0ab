internal import Synchronization
public import VProtocol
public import VRuntime

/// The client half of V: the objects that a program knows, what it has open, and how both are
/// found again when their manager was restarted, moved or silent.
///
/// ```
///   who asks -- Call -- Client -- ObjectTable   OpenTable   HeldLocks
///                          |                        what is known, open, locked
///                       NameCache -- ClientPool -- Backplane
/// ```
/// A mount has one for all programs of its host. No call waits: its answer goes to `then`, on
/// whichever thread read the response. It is written on a backplane alone, so that the simulator
/// runs it as a node does. Nothing but the way to a prefix is cached.
public final class Client: Sendable {
  public let backplane: any Backplane
  let nameSpace: NameSpace
  public let names: NameCache
  let clients: ClientPool
  public let objects: ObjectTable
  let opens = OpenTable()
  let locks = HeldLocks()
  /// The process that owns all instances: they die with this client.
  let owner: EntityID
  /// Managers of objects that are kept on a disk.
  private let stores = Mutex<Set<EntityID>>([])
  /// Calls that wait until an instance has been opened anew, which one of them does.
  let reopening = Mutex<[OpenID: [@Sendable (ReplyCode) -> Void]]>([:])
  /// What waits at managers until something that is open is ready.
  let watches = Mutex<[OpenID: Watch]>([:])
  private let ownNameState = Mutex<OwnName?>(nil)

  /// Where a name of the root leads that no directory has.
  public struct OwnName: Sendable {
    public var name: [UInt8]
    public var manager: EntityID
    public var context: ContextID

    public init(name: [UInt8], manager: EntityID, context: ContextID) {
      self.name = name
      self.manager = manager
      self.context = context
    }
  }

  /// Managers that are remembered as stores: more than a cluster has.
  private static let storesMax = 1024

  /// Knows the root of a name space; `clients` and `names` may be shared with others.
  public init(
    _ backplane: any Backplane, _ nameSpace: NameSpace, names: NameCache, clients: ClientPool
  ) {
    self.backplane = backplane
    self.nameSpace = nameSpace
    self.names = names
    self.clients = clients
    objects = ObjectTable(
      root: KnownObject.Object(
        tree: Tree(prefix: []), identity: nameSpace.identity, kind: .sharedContext,
        manager: nameSpace.directory, context: nameSpace.root))
    owner = backplane.makeClient(user: "root")
  }

  /// Ends the client: the managers take back what it has open.
  public func end() { backplane.retire(owner) }

  /// A name of the root that is this program's own, listed nowhere, and who serves it.
  public var ownName: OwnName? {
    get { ownNameState.withLock { $0 } }
    set { ownNameState.withLock { $0 = newValue } }
  }

  /// Every open instance as a line: its number, its manager, who opened it, how.
  public var openText: String { opens.text }

  func isStore(_ manager: EntityID) -> Bool { stores.withLock { $0.contains(manager) } }

  /// A manager has shown an object: one whose directories are on a disk is a store.
  func note(_ object: Descriptor, of manager: EntityID) {
    guard object.kind == .context, object.attributes.contains(.storage) else { return }
    stores.withLock { stores in
      if stores.count >= Self.storesMax { stores = [] }
      stores.insert(manager)
    }
  }
}
