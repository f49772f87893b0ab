public import VProtocol

/// The disk as the file server uses it: objects in directories, by handles.
///
/// `LinuxStore`, in a room of its own, is the real one; the simulator has one in memory. A store
/// follows no symbolic link and leaves no directory upwards, so whatever is found from an export's
/// root lies inside the export. `who` is the user whose rights are checked and who owns what is
/// made.
///
/// Calls come from many threads at once, except that `entries` is called once at a time for one
/// handle. No handle is used after `close`.
public protocol FileStore: Sendable {
  /// The root directory of an export.
  ///
  /// `path` is the operator's: links in it are followed.
  func openRoot(_ path: String) throws(StoreFailure) -> StoreHandle
  /// The same, for a path that `steadyPath` returned: no link in it is followed.
  func reopenRoot(_ path: String) throws(StoreFailure) -> StoreHandle
  /// The path without links, as far as it exists now.
  func steadyPath(_ path: String) -> String
  /// The object that `path` leads to from `directory`.
  func lookUp(
    _ path: RelativePath, in directory: StoreHandle, as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle
  func close(_ handle: StoreHandle)
  /// Whether handles of open files are file descriptors of this process.
  var handlesAreDescriptors: Bool { get }

  /// Describes an object or an open file; an object without a name has 0 links.
  func describe(_ handle: StoreHandle) throws(StoreFailure) -> ObjectState
  /// Whether `who` may read (4), write (2), execute (1).
  func checkAccess(
    _ object: StoreHandle, mask: UInt32, as who: Credentials) throws(StoreFailure)
  func readLink(_ object: StoreHandle) throws(StoreFailure) -> [UInt8]
  /// The space of the store that has the object.
  func room(at object: StoreHandle) throws(StoreFailure) -> QueryStore.Answer

  /// Opens a regular file or, with `.directory`, a directory; `create` and `exclusive` are ignored.
  ///
  /// All rights of the mode are needed together. `execute` also needs the right to read, unless the
  /// caller `mayRunUnread` and asks for nothing else.
  ///
  /// `heldUp` if another program holds a lease on the file: the kernel has notified it, and nothing
  /// else was done.
  func open(
    _ object: StoreHandle, _ mode: OpenMode, as who: Credentials, mayRunUnread: Bool,
    _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle
  /// Makes a regular file and opens it; `duplicateName` if the name is taken.
  func create(
    _ name: [UInt8], in directory: StoreHandle, _ mode: OpenMode, permissions: UInt32,
    as who: Credentials
  ) throws(StoreFailure) -> StoreHandle
  /// The path of an open file on this host; nil where the store cannot tell.
  func path(of file: StoreHandle) -> String?
  /// A new handle of the object behind an open file.
  func object(of file: StoreHandle) throws(StoreFailure) -> StoreHandle

  /// Reads fewer octets than `count` only at the end of the file.
  func read(
    _ file: StoreHandle, at position: UInt64, count: Int, _ patience: Patience
  ) throws(StoreFailure) -> [UInt8]
  /// Returns the octets written; writes at the end of the file if it was opened to append.
  ///
  /// Set-user and set-group bits are dropped if `who` is not root.
  func write(
    _ file: StoreHandle, _ data: [UInt8], at position: UInt64, _ mode: OpenMode,
    as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> Int
  /// Some names of an open directory from `position` on, without `.` and `..`; none at the end.
  func entries(
    of directory: StoreHandle, from position: UInt64
  ) throws(StoreFailure) -> [DirectoryEntry]
  func synchronize(_ file: StoreHandle, isDataOnly: Bool) throws(StoreFailure)

  /// Opens a file once more, to hold locks on until it is closed.
  ///
  /// `toWrite` is needed for exclusive locks on ranges, and keeps the file from being run.
  func openToLock(_ file: StoreHandle, toWrite: Bool) throws(StoreFailure) -> StoreHandle
  /// Locks a range, or by flock(2) the whole file; `wouldBlock` if a lock conflicts.
  func lock(
    _ file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>?) throws(StoreFailure)
  /// The lock that conflicts with one on a range.
  func conflict(
    on file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>
  ) throws(StoreFailure) -> RangeLocks.Span?

  /// An extended attribute of an object, under Linux's name for it.
  func attribute(
    _ name: [UInt8], of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [UInt8]
  /// The names of an object's extended attributes that `who` may see.
  func attributeNames(
    of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [[UInt8]]
  func changeAttribute(
    _ name: [UInt8], of object: StoreHandle, _ change: ChangeAttribute.Change,
    as who: Credentials) throws(StoreFailure)

  /// Adds a name for a new object, or one more name for an existing object.
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
  /// Makes the changes in the order of the fields and stops at the first refusal.
  ///
  /// The size of an open file is changed with the rights that it was opened with.
  func change(
    _ handle: StoreHandle, isOpenFile: Bool, _ change: Change, as who: Credentials
  ) throws(StoreFailure)
}

extension FileStore {
  /// For a store that has no links on the way to its roots.
  public func reopenRoot(_ path: String) throws(StoreFailure) -> StoreHandle { try openRoot(path) }
  public func steadyPath(_ path: String) -> String { path }

  /// Opens for a caller who needs the right to read what it runs.
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

/// Why a store failed.
public enum StoreFailure: Error, Equatable, Sendable {
  case refused(ReplyCode)
  /// The call was `atOnce`, and would have to wait: nothing was done.
  case wouldWait
  /// Another program must act first, which may take long: nothing was done.
  ///
  /// The call is to be repeated after a pause, without a thread that waits; the code is for giving
  /// up.
  case heldUp(ReplyCode)
}

/// Whether a call may wait, for a disk or for another machine.
public enum Patience: Sendable {
  /// On a thread of the loop: `wouldWait` instead of waiting.
  case atOnce
  /// On a thread that may block.
  case mayWait
}

/// The state of an object in a store: its descriptor, with the numbers of this host for owner and
/// group.
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
  /// The position of the next entry.
  public var nextPosition: UInt64

  public init(name: [UInt8], kind: ObjectKind, inode: UInt64, nextPosition: UInt64) {
    self.name = name
    self.kind = kind
    self.inode = inode
    self.nextPosition = nextPosition
  }
}

/// The object of a new name.
public enum NewObject: Sendable {
  case directory(permissions: UInt32)
  case symbolicLink(target: [UInt8])
  /// A regular file, a fifo, a socket or a device.
  case node(ObjectKind, permissions: UInt32, deviceNumber: UInt64)
  case link(to: StoreHandle)
}

/// Attributes to change, in the order in which they are changed.
public struct Change: Sendable {
  public var size: UInt64?
  public var uid: UInt32?
  public var gid: UInt32?
  public var permissions: UInt32?
  public var accessed: Modification.Stamp?
  public var modified: Modification.Stamp?

  public init() {}
}
