/// The kernel's number of a node; 1 is the root of the mount.
public typealias NodeNumber = UInt64
/// The file system's number of an open file or directory (fh).
public typealias HandleNumber = UInt64

/// A file system that the kernel asks by FUSE.
///
/// Each call begins one request, on the thread that read it, and must not wait. It is answered
/// once, on any thread, by a `reply`, `done` or `fail` of the request; `forget` has no answer.
/// Names are one component, without NUL, as the program wrote them.
public protocol FileSystem: AnyObject, Sendable {
  /// The names that belong to a request's numbers; nil where they have to be looked for first.
  ///
  /// The request then begins when `findNames` is done, and is refused if they are not there.
  func names(of numbers: RequestNumbers) -> RequestNames?
  func findNames(of numbers: RequestNumbers, _ done: @escaping @Sendable () -> Void)

  /// The kernel no longer counts on `count` of the lookups that it was answered.
  func forget(_ node: NodeNumber, _ count: UInt64)

  func lookUp(_ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8])
  func getAttributes(_ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?)
  func setAttributes(
    _ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?, to change: AttributeChange
  )
  /// `mask` has the bits of access(2).
  func checkAccess(_ request: FuseRequest, to node: NodeNumber, _ mask: UInt32)
  func queryStore(_ request: FuseRequest, of node: NodeNumber)

  /// `permissions` is what the process may give to a new object, here and in `makeDirectory` and
  /// `create`; a device number has its major part in the high word.
  func makeNode(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], _ kind: FileKind,
    permissions: UInt32, deviceNumber: UInt64)
  func makeDirectory(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], permissions: UInt32)
  func makeSymbolicLink(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], target: [UInt8])
  func readLink(_ request: FuseRequest, _ node: NodeNumber)
  func link(_ request: FuseRequest, _ node: NodeNumber, below parent: NodeNumber, _ name: [UInt8])
  func removeName(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], isDirectory: Bool)
  /// `flags` are those of renameat2(2).
  func rename(_ request: FuseRequest, from old: Place, to new: Place, flags: UInt32)

  func open(_ request: FuseRequest, _ node: NodeNumber, _ flags: OpenFlags)
  func create(
    _ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8], _ flags: OpenFlags,
    permissions: UInt32)
  func read(_ request: FuseRequest, _ handle: HandleNumber, count: Int, at offset: UInt64)
  /// The data is the reader's: it is copied before this returns.
  func write(
    _ request: FuseRequest, _ handle: HandleNumber, _ data: RawSpan, at offset: UInt64)
  func synchronize(_ request: FuseRequest, _ handle: HandleNumber, isDataOnly: Bool)
  /// Of a file or a directory; no program waits for the answer.
  func close(_ request: FuseRequest, _ handle: HandleNumber)
  func openDirectory(_ request: FuseRequest, _ node: NodeNumber)
  /// `room` is the most octets of entries that the kernel takes.
  func readDirectory(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, room: Int,
    at offset: UInt64)

  /// Replies with the events of a file that there are now, and notifies `notified`, if any, later
  /// when there may be some of what is wanted.
  func poll(
    _ request: FuseRequest, _ handle: HandleNumber, for wanted: PollEvents,
    notifying notified: PollHandle?)

  func queryLock(_ request: FuseRequest, _ handle: HandleNumber, _ lock: FileLock)
  func setLock(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, _ lock: FileLock,
    waits: Bool)
  /// A descriptor of `owner` was closed.
  func flush(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, owner: UInt64)

  /// `room` is what the program has for the answer; with 0 it asks for the size.
  func getExtendedAttribute(
    _ request: FuseRequest, of node: NodeNumber, _ name: [UInt8], room: Int)
  func listExtendedAttributes(_ request: FuseRequest, of node: NodeNumber, room: Int)
  func changeExtendedAttribute(
    _ request: FuseRequest, of node: NodeNumber, _ name: [UInt8], _ change: ExtendedChange)
}

/// A name in a directory.
public struct Place: Sendable {
  public var parent: NodeNumber
  public var name: [UInt8]
}

/// The numbers in a request that stand for users and groups: who asks and, where it changes them,
/// an object's new owner and group.
public struct RequestNumbers: Sendable {
  public var user: UInt32
  public var owner: UInt32?
  public var group: UInt32?
}

/// The names that belong to them; of those that are not there, empty.
public struct RequestNames: Sendable {
  public var user: String
  public var owner = ""
  public var group = ""

  public init(user: String, owner: String = "", group: String = "") {
    self.user = user
    self.owner = owner
    self.group = group
  }
}
