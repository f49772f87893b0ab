/// The kernel's number of a node; 1 is the root of the mount.
public typealias NodeNumber = UInt64
/// The file system's number of an open file or directory (fh).
public typealias HandleNumber = UInt64

/// A file system that gets the kernel's FUSE requests.
///
/// Each call begins one request, on the thread that read it, and must not wait. The request is
/// answered once, on any thread, by its `reply`, `done` or `fail`; `forget` has no answer. Names
/// are one component, without NUL, as the program wrote them.
public protocol FileSystem: AnyObject, Sendable {
  /// The names of a request's numbers; nil if they must be looked up first.
  ///
  /// The request then begins when `findNames` is done, and is refused if they are not found.
  func names(of numbers: RequestNumbers) -> RequestNames?
  func findNames(of numbers: RequestNumbers, _ done: @escaping @Sendable () -> Void)

  /// The kernel gives back `count` of its lookups.
  func forget(_ node: NodeNumber, _ count: UInt64)

  func lookUp(_ request: FuseRequest, below parent: NodeNumber, _ name: [UInt8])
  func getAttributes(_ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?)
  func setAttributes(
    _ request: FuseRequest, of node: NodeNumber, _ handle: HandleNumber?, to change: AttributeChange
  )
  /// `mask` has the bits of access(2).
  func checkAccess(_ request: FuseRequest, to node: NodeNumber, _ mask: UInt32)
  func queryStore(_ request: FuseRequest, of node: NodeNumber)

  /// `permissions` are those that the process may give to a new object, here and in `makeDirectory`
  /// and `create`; a device number has its major part in the high word.
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
  /// The data belong to the reader: they are copied before this returns.
  func write(
    _ request: FuseRequest, _ handle: HandleNumber, _ data: RawSpan, at offset: UInt64)
  func synchronize(_ request: FuseRequest, _ handle: HandleNumber, isDataOnly: Bool)
  /// Of a file or a directory; no program waits for the answer.
  func close(_ request: FuseRequest, _ handle: HandleNumber)
  func openDirectory(_ request: FuseRequest, _ node: NodeNumber)
  /// `room` is the limit of octets of entries that the kernel takes.
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

  /// `room` is the size of the program's buffer; with 0 it asks for the size.
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

/// The numbers of users and groups in a request: the caller's and, where it changes them, those of
/// an object's new owner and group.
public struct RequestNumbers: Sendable {
  public var user: UInt32
  public var owner: UInt32?
  public var group: UInt32?
}

/// The names of those numbers; empty for numbers that are not in the request.
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
