internal import Synchronization
public import VProtocol
public import VRuntime

/// The client half of V: the objects that a program knows and has open, and the way both are found
/// again when their manager was restarted, moved or silent.
///
/// ```
///   program  -- Call -- Client -- ObjectTable   OpenTable   HeldLocks
///                          |                        known, open, locked
///                       NameCache -- ClientPool -- Backplane
/// ```
/// A mount has one client for all programs of its host. No call waits: its answer goes to `then`,
/// on the thread that read the response. A client needs only a backplane, so that the simulator
/// runs it as a node does. It caches nothing but the manager of a prefix.
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
  /// The priority of a Linux process's calls.
  let priority: @Sendable (_ process: Int32) -> Priority
  /// Managers whose objects are on a disk.
  private let stores = Mutex<Set<EntityID>>([])
  /// Calls that wait until one of them has opened an instance again.
  let reopening = Mutex<[OpenID: [@Sendable (ReplyCode) -> Void]]>([:])
  /// What waits at managers until something that is open is ready.
  let watches = Mutex<[OpenID: Watch]>([:])
  private let ownNameState = Mutex<OwnName?>(nil)

  /// A name in the root that no directory has.
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
  ///
  /// What it opens belongs to an entity that speaks for `owner`, which this process must be
  /// allowed to be.
  public init(
    _ backplane: any Backplane, _ nameSpace: NameSpace, names: NameCache, clients: ClientPool,
    owner user: ClientUser = "root",
    priority: @escaping @Sendable (_ process: Int32) -> Priority = { _ in .normal }
  ) {
    self.priority = priority
    self.backplane = backplane
    self.nameSpace = nameSpace
    self.names = names
    self.clients = clients
    objects = ObjectTable(
      root: KnownObject.Object(
        tree: Tree(prefix: []), identity: nameSpace.identity, kind: .sharedContext,
        manager: nameSpace.directory, context: nameSpace.root))
    owner = backplane.makeClient(user)
  }

  /// The client of a program that is written for V and speaks for one user.
  public convenience init(
    _ backplane: any Backplane, _ nameSpace: NameSpace, as user: ClientUser
  ) {
    let clients = ClientPool(backplane)
    self.init(
      backplane, nameSpace, names: NameCache(backplane, clients: clients), clients: clients,
      owner: user)
  }

  /// The entity of `user` that sends next, where one call follows another.
  public func nextEntity(of user: ClientUser) -> EntityID {
    let entity = clients.take(user)
    clients.give(entity, of: user)
    return entity
  }

  /// Ends the client: the managers close what it has open.
  public func end() { backplane.retire(owner) }

  /// A name in the root that only this program serves, and no listing has.
  public var ownName: OwnName? {
    get { ownNameState.withLock { $0 } }
    set { ownNameState.withLock { $0 = newValue } }
  }

  /// Every open instance as a line: its number, its manager, the user who opened it, its mode.
  public var openText: String { opens.text }

  func isStore(_ manager: EntityID) -> Bool { stores.withLock { $0.contains(manager) } }

  /// Notes the descriptor of an object: a manager whose directories are on a disk is a store.
  func note(_ object: Descriptor, of manager: EntityID) {
    guard object.kind == .context, object.attributes.contains(.storage) else { return }
    stores.withLock { stores in
      if stores.count >= Self.storesMax { stores = [] }
      stores.insert(manager)
    }
  }
}
