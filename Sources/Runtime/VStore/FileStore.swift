public import VProtocol
public import VRuntime

/// The disk as the file server touches it: objects in directories, under handles.
///
/// `LinuxStore`, in a room of its own, is the real one; the simulator has one in memory. A store
/// follows no symbolic link and leaves no directory upwards, so what is found from an export's root
/// lies inside the export. `who` is whose rights an operation is checked against and who owns what
/// it makes.
///
/// Calls come from many threads at once, except that `entries` of one handle are asked one at a
/// time. No handle is used after `close`.
public protocol FileStore: Sendable {
  /// The directory that an export starts at. `path` is the operator's: links in it are followed.
  func openRoot(_ path: String) throws(StoreFailure) -> StoreHandle
  /// The same, of a path that `steadyPath` gave: no link in it is followed.
  func reopenRoot(_ path: String) throws(StoreFailure) -> StoreHandle
  /// Where a path leads now: without links, as far as it exists.
  func steadyPath(_ path: String) -> String
  /// The object that `path` leads to from `directory`.
  func lookUp(
    _ path: RelativePath, in directory: StoreHandle, as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle
  func close(_ handle: StoreHandle)
  /// Handles of open files are file descriptors of this process.
  var handlesAreDescriptors: Bool { get }

  /// Of an object or an open file; an object without a name has 0 links.
  func describe(_ handle: StoreHandle) throws(StoreFailure) -> ObjectState
  /// Whether `who` may read (4), write (2), execute (1).
  func checkAccess(
    _ object: StoreHandle, mask: UInt32, as who: Credentials) throws(StoreFailure)
  func readLink(_ object: StoreHandle) throws(StoreFailure) -> [UInt8]
  /// Room in the store that the object lies in.
  func room(at object: StoreHandle) throws(StoreFailure) -> QueryStore.Answer

  /// Opens a regular file or, with `.directory`, a directory; `create` and `exclusive` are not
  /// looked at. All rights of the mode are wanted together, and `execute` reads: so it wants the
  /// right to read as well, unless the caller `mayRunUnread` and asks for nothing else.
  ///
  /// `heldUp` where another program holds a lease on the file: it has been told, and nothing else
  /// was done.
  func open(
    _ object: StoreHandle, _ mode: OpenMode, as who: Credentials, mayRunUnread: Bool,
    _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle
  /// Makes a regular file and opens it; `duplicateName` where the name is taken.
  func create(
    _ name: [UInt8], in directory: StoreHandle, _ mode: OpenMode, permissions: UInt32,
    as who: Credentials
  ) throws(StoreFailure) -> StoreHandle
  /// A new handle of the object behind an open file.
  func object(of file: StoreHandle) throws(StoreFailure) -> StoreHandle

  /// Fewer octets than `count` only at the end of the file.
  func read(
    _ file: StoreHandle, at position: UInt64, count: Int, _ patience: Patience
  ) throws(StoreFailure) -> [UInt8]
  /// Octets written; at the end of the file if it was opened to append. Set-user and set-group bits
  /// go where `who` is not root.
  func write(
    _ file: StoreHandle, _ data: [UInt8], at position: UInt64, _ mode: OpenMode,
    as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> Int
  /// Some names of an open directory from `position` on, without `.` and `..`; none at the end.
  func entries(
    of directory: StoreHandle, from position: UInt64
  ) throws(StoreFailure) -> [DirectoryEntry]
  func synchronize(_ file: StoreHandle, isDataOnly: Bool) throws(StoreFailure)

  /// Opens a file once more, to hold locks on until it is closed; `toWrite` is needed for exclusive
  /// locks on ranges, and keeps the file from being run.
  func openToLock(_ file: StoreHandle, toWrite: Bool) throws(StoreFailure) -> StoreHandle
  /// Locks a range, or by flock(2) the whole file; `wouldBlock` where a lock is in the way.
  func lock(
    _ file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>?) throws(StoreFailure)
  /// What is in the way of locking a range.
  func conflict(
    on file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>
  ) throws(StoreFailure) -> RangeLocks.Span?

  /// An extended attribute of an object, under Linux's name for it.
  func attribute(
    _ name: [UInt8], of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [UInt8]
  /// The names of an object's extended attributes that `who` may know of.
  func attributeNames(
    of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [[UInt8]]
  func changeAttribute(
    _ name: [UInt8], of object: StoreHandle, _ change: ChangeAttribute.Change,
    as who: Credentials) throws(StoreFailure)

  /// Adds a name for a new object, or one more name for an object that exists.
  func add(
    _ name: [UInt8], in directory: StoreHandle, _ object: NewObject, as who: Credentials
  ) throws(StoreFailure)
  func remove(
    _ name: [UInt8], in directory: StoreHandle, isDirectory: Bool, as who: Credentials
  ) throws(StoreFailure)
  func rename(
    _ oldName: [UInt8], in oldDirectory: StoreHandle, to newName: [UInt8],
    in newDirectory: StoreHandle, _ mode: RenameObject.Mode, as who: Credentials
  ) throws(StoreFailure)
  /// Makes the changes in the order of the fields and stops at the first that is refused. The size
  /// of an open file changes by the right that it was opened with.
  func change(
    _ handle: StoreHandle, isOpenFile: Bool, _ change: Change, as who: Credentials
  ) throws(StoreFailure)
}

extension FileStore {
  /// Of a store that has no links on the way to its roots.
  public func reopenRoot(_ path: String) throws(StoreFailure) -> StoreHandle { try openRoot(path) }
  public func steadyPath(_ path: String) -> String { path }

  /// Opens for a caller who has to be allowed to read what they run.
  public func open(
    _ object: StoreHandle, _ mode: OpenMode, as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    try open(object, mode, as: who, mayRunUnread: false, patience)
  }
}

/// A store's number for an object or an open file.
public struct StoreHandle: Hashable, Sendable {
  public var rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
}

/// Why a store did not do what it was asked.
public enum StoreFailure: Error, Equatable, Sendable {
  case refused(ReplyCode)
  /// Asked `atOnce`, and it can not be told without waiting: nothing was done.
  case wouldWait
  /// Somebody else has to do something first, which may take long: nothing was done. To be tried
  /// again after a pause, on no thread meanwhile; the code is for when that does not help.
  case heldUp(ReplyCode)
}

/// Whether a call may wait, for a disk or for another machine.
public enum Patience: Sendable {
  /// On a thread of the loop: say `wouldWait` rather than wait.
  case atOnce
  /// On a thread that may block.
  case mayWait
}

/// What a store says of an object: its descriptor, in which only the numbers of this host stand for
/// owner and group.
@dynamicMemberLookup
public struct ObjectState: Equatable, Sendable {
  public var descriptor: Descriptor
  public var uid: UInt32
  public var gid: UInt32

  public init(_ descriptor: Descriptor, uid: UInt32, gid: UInt32) {
    self.descriptor = descriptor
    self.uid = uid
    self.gid = gid
  }

  public subscript<Value>(dynamicMember field: KeyPath<Descriptor, Value>) -> Value {
    descriptor[keyPath: field]
  }
}

/// One name of a directory.
public struct DirectoryEntry: Equatable, Sendable {
  public var name: [UInt8]
  public var kind: ObjectKind
  public var inode: UInt64
  /// The position that the entry behind this one is read from.
  public var nextPosition: UInt64

  public init(name: [UInt8], kind: ObjectKind, inode: UInt64, nextPosition: UInt64) {
    self.name = name
    self.kind = kind
    self.inode = inode
    self.nextPosition = nextPosition
  }
}

/// What a new name is to stand for.
public enum NewObject: Sendable {
  case directory(permissions: UInt32)
  case symbolicLink(target: [UInt8])
  /// A regular file, a fifo, a socket or a device.
  case node(ObjectKind, permissions: UInt32, deviceNumber: UInt64)
  case link(to: StoreHandle)
}

/// Attributes to change, in the order that they are changed in.
public struct Change: Sendable {
  public var size: UInt64?
  public var uid: UInt32?
  public var gid: UInt32?
  public var permissions: UInt32?
  public var accessed: Modification.Stamp?
  public var modified: Modification.Stamp?

  public init() {}
}
