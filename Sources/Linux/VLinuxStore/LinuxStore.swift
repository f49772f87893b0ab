import CVLinux
import Glibc
import Synchronization
public import VProtocol
public import VStore

/// The disk of this host.
///
/// Objects are O_PATH descriptors, found by openat2 below a directory descriptor. So a rename
/// elsewhere never moves a handle, and no name leads out of the export or over a mount point (an
/// export is one file system, as with NFS; the node's own /v is never entered). An object is opened
/// for use through the process's descriptor directory, which checks its permissions again.
///
/// If the process is root, each operation runs with the ids and groups of `who`, set for the
/// calling thread only. If it is not, it serves its own user and refuses all others.
///
/// Making a store sets the umask of the process to 0: the client has applied its umask, and a chmod
/// after each creation would leave a moment with wrong permissions.
public final class LinuxStore: FileStore {
  private let own: Credentials
  private let isPrivileged: Bool
  /// /proc/self/fd, the directory of descriptors.
  let descriptors: Int32
  /// Some file systems (ext4) refuse buffered writes that must not wait; then it is not tried
  /// again.
  let triesWriteAtOnce = Atomic<Bool>(true)

  public var handlesAreDescriptors: Bool { true }

  /// `deviceError` if /proc is not mounted.
  ///
  /// Call it before any other thread exists: the process gives up the right to exceed quotas and to
  /// use a disk's reserve, and threads inherit their capabilities.
  public init() throws(StoreFailure) {
    umask(0)
    v_drop_resource_capability()
    var groups = [UInt32](repeating: 0, count: Self.groupsMax)
    let count = try Self.checked(unsafe v_groups(&groups, Int32(Self.groupsMax)))
    own = Credentials(uid: geteuid(), gid: getegid(), groups: Array(groups[..<Int(count)]))
    // Taking its own credentials changes nothing, and fails if it may not take others.
    let taken = unsafe v_take_credentials(own.uid, own.gid, own.groups, own.groups.count)
    isPrivileged = own.isRoot && taken == 0
    descriptors = unsafe v_openat(
      AT_FDCWD, "/proc/self/fd", V_O_PATH | O_DIRECTORY | O_CLOEXEC)
    guard descriptors >= 0 else { throw .refused(.deviceError) }
  }

  deinit { _ = Glibc.close(descriptors) }

  public func close(_ handle: StoreHandle) { _ = Glibc.close(handle.rawValue) }

  /// Linux's NGROUPS_MAX.
  private static let groupsMax = 65_536
}

// MARK: Rights

extension LinuxStore {
  /// Runs `body` with the rights of `who`.
  func acting<Result>(
    as who: Credentials, _ body: () throws(StoreFailure) -> Result
  ) throws(StoreFailure) -> Result {
    if isOwn(who) { return try body() }
    guard isPrivileged else { throw .refused(.noPermission) }
    let taken = unsafe v_take_credentials(who.uid, who.gid, who.groups, who.groups.count)
    defer { restoreCredentials() }
    _ = try Self.checked(taken)
    return try body()
  }

  /// Runs `body`, a write to an open file, as `who`.
  ///
  /// The write needs no rights beyond those of the opening, so only the user id is taken, which
  /// costs a third of all credentials: then set-user bits are dropped, the disk's reserve is not
  /// used, and quotas hold.
  func writing<Result>(
    as who: Credentials, _ body: () throws(StoreFailure) -> Result
  ) throws(StoreFailure) -> Result {
    if isOwn(who) { return try body() }
    guard isPrivileged else { throw .refused(.noPermission) }
    defer { precondition(v_take_user(own.uid) == 0, "a thread gives back whose it is") }
    _ = try Self.checked(v_take_user(who.uid))
    return try body()
  }

  /// Whether the process already has the rights of `who`.
  func isOwn(_ who: Credentials) -> Bool {
    who.uid == own.uid && (!own.isRoot || who.gid == own.gid)
  }

  private func restoreCredentials() {
    let result = unsafe v_take_credentials(own.uid, own.gid, own.groups, own.groups.count)
    precondition(result == 0, "a thread can not go on with the rights of somebody else")
  }
}

// MARK: Finding and describing

extension LinuxStore {
  public func openRoot(_ path: String) throws(StoreFailure) -> StoreHandle {
    let flags = V_O_PATH | O_DIRECTORY | O_CLOEXEC
    return try Self.handle(unsafe v_openat(AT_FDCWD, path, flags))
  }

  public func reopenRoot(_ path: String) throws(StoreFailure) -> StoreHandle {
    let flags = UInt64(V_O_PATH | O_DIRECTORY | O_CLOEXEC)
    let resolve = UInt64(RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    return try Self.handle(unsafe v_openat2(AT_FDCWD, path, flags, 0, resolve))
  }

  public func steadyPath(_ path: String) -> String {
    var front = path[...]
    while front.contains("/") {
      if let found = unsafe realpath(front.isEmpty ? "/" : String(front), nil) {
        defer { unsafe free(found) }
        return unsafe String(cString: found) + path[front.endIndex...]
      }
      front = front[..<(front.lastIndex(of: "/") ?? front.startIndex)]
    }
    return path
  }

  public func lookUp(
    _ path: RelativePath, in directory: StoreHandle, as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    precondition(!path.isEmpty, "a directory is not looked up in itself")
    let flags = UInt64(V_O_PATH | O_NOFOLLOW | O_CLOEXEC)
    let resolve = Self.confined | (patience == .atOnce ? UInt64(RESOLVE_CACHED) : 0)
    return try acting(as: who) { () throws(StoreFailure) -> StoreHandle in
      let result = unsafe Self.terminated(path.octets).withUnsafeBufferPointer {
        unsafe v_openat2(directory.rawValue, $0.baseAddress, flags, 0, resolve)
      }
      if result == -EAGAIN && patience == .atOnce { throw .wouldWait }
      return try Self.handle(result)
    }
  }

  public func describe(_ handle: StoreHandle) throws(StoreFailure) -> ObjectState {
    var found = v_object_state()
    _ = try Self.checked(unsafe v_describe(handle.rawValue, &found))
    var descriptor = Descriptor(
      kind: Self.kind(ofMode: found.mode),
      identity: Descriptor.Identity(
        device: found.device, inode: found.inode, generation: found.generation))
    descriptor.permissions = found.mode & 0o7777
    descriptor.links = found.links
    descriptor.size = found.size
    descriptor.allocatedBytes = found.allocated_bytes
    descriptor.blockSize = found.block_size
    descriptor.deviceNumber = found.device_number
    descriptor.accessed = found.accessed
    descriptor.modified = found.modified
    descriptor.changed = found.changed
    descriptor.born = found.born
    return ObjectState(descriptor, uid: found.uid, gid: found.gid)
  }

  public func checkAccess(
    _ object: StoreHandle, mask: UInt32, as who: Credentials
  ) throws(StoreFailure) {
    _ = try acting(as: who) { () throws(StoreFailure) -> Int32 in
      try Self.checked(v_access(object.rawValue, Int32(mask & 7)))
    }
  }

  public func readLink(_ object: StoreHandle) throws(StoreFailure) -> [UInt8] {
    var octets = [CChar](repeating: 0, count: ContextName.nameBytesMax)
    let count = unsafe v_readlink(object.rawValue, &octets, octets.count)
    // An object that is not a link has no name "" to read.
    guard count != -Int64(ENOENT) else { throw .refused(.badArguments) }
    return octets[..<Int(try Self.checked(count))].map { UInt8(bitPattern: $0) }
  }

  public func path(of file: StoreHandle) -> String? {
    var octets = [CChar](repeating: 0, count: ContextName.nameBytesMax)
    let link = "/proc/self/fd/\(file.rawValue)"
    let count = unsafe readlink(link, &octets, octets.count)
    guard count > 0 else { return nil }
    return String(decoding: octets[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  public func room(at object: StoreHandle) throws(StoreFailure) -> QueryStore.Answer {
    var found = statfs()
    _ = try Self.checked(unsafe v_fstatfs(object.rawValue, &found))
    var answer = QueryStore.Answer()
    answer.blockSize = UInt64(found.f_frsize > 0 ? found.f_frsize : found.f_bsize)
    answer.blocks = UInt64(found.f_blocks)
    answer.blocksFree = UInt64(found.f_bfree)
    answer.blocksAvailable = UInt64(found.f_bavail)
    answer.objects = UInt64(found.f_files)
    answer.objectsFree = UInt64(found.f_ffree)
    answer.objectsAvailable = UInt64(found.f_ffree)
    answer.nameBytesMax = UInt64(found.f_namelen)
    return answer
  }

  static func kind(ofMode mode: UInt32) -> ObjectKind {
    types.first { $0.type == mode & 0o170000 }?.kind ?? .file
  }

  /// The types of objects in a Linux mode.
  static let types: [(kind: ObjectKind, type: UInt32)] = [
    (.file, 0o100000), (.context, 0o040000), (.symbolicLink, 0o120000), (.fifo, 0o010000),
    (.socket, 0o140000), (.characterDevice, 0o020000), (.blockDevice, 0o060000),
  ]

  /// Keeps a path below its directory; the last component may be a link, which is not followed.
  static let confined = UInt64(
    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
}

// MARK: Results of calls

extension LinuxStore {
  /// The result, if it is not a negative error number.
  static func checked<Number: SignedInteger>(_ result: Number) throws(StoreFailure) -> Number {
    guard result < 0 else { return result }
    throw failure(Int32(-result))
  }

  static func handle(_ result: Int32) throws(StoreFailure) -> StoreHandle {
    StoreHandle(rawValue: try checked(result))
  }

  static func failure(_ number: Int32) -> StoreFailure {
    switch number {
    // The process's table of descriptors is full, not the system's: a client sees no difference.
    case EMFILE: .refused(.noServerResources)
    default: .refused(ReplyCode(errno: number))
    }
  }

  /// A name as a C string.
  static func terminated(_ name: [UInt8]) -> [CChar] {
    var result: [CChar] = []
    result.reserveCapacity(name.count + 1)
    for octet in name { result.append(CChar(bitPattern: octet)) }
    result.append(0)
    return result
  }
}
