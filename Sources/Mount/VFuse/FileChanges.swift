internal import CFuse3
internal import CVLinux
internal import Glibc

/// The flags of an open file.
public struct OpenFlags: Sendable {
  public enum Access: Sendable { case read, write, both }

  public var access: Access
  public var appends: Bool
  public var truncates: Bool
  public var isSynchronous: Bool
  public var isNonBlocking: Bool
  public var isExclusive: Bool
  /// Whether the kernel reads it for execve(2).
  public var isToExecute: Bool

  /// The kernel's FMODE_EXEC, which is in the flags of an open for execve.
  private static let openToExecute: Int32 = 0x20

  init(_ flags: Int32) {
    access =
      switch flags & O_ACCMODE {
      case O_RDONLY: .read
      case O_WRONLY: .write
      default: .both
      }
    appends = flags & O_APPEND != 0
    truncates = flags & O_TRUNC != 0
    isSynchronous = flags & (O_SYNC | O_DSYNC) != 0
    isNonBlocking = flags & O_NONBLOCK != 0
    isExclusive = flags & O_EXCL != 0
    isToExecute = flags & Self.openToExecute != 0
  }
}

/// A change of attributes: those that are nil stay as they are.
///
/// The names of a new owner and group are in the request's `names`.
public struct AttributeChange: Sendable {
  public enum Stamp: Sendable {
    case now
    /// Nanoseconds since 1970; a time out of range is cut to it.
    case at(Int64)
  }

  public var permissions: UInt32?
  public var changesOwner = false
  public var changesGroup = false
  public var size: UInt64?
  public var accessed: Stamp?
  public var modified: Stamp?

  init(_ status: stat, valid: Int32) {
    let has = { (bit: Int32) in valid & bit != 0 }
    if has(FUSE_SET_ATTR_MODE) { permissions = status.st_mode & 0o7777 }
    changesOwner = has(FUSE_SET_ATTR_UID)
    changesGroup = has(FUSE_SET_ATTR_GID)
    if has(FUSE_SET_ATTR_SIZE) { size = UInt64(status.st_size) }
    if has(FUSE_SET_ATTR_ATIME) {
      accessed = has(FUSE_SET_ATTR_ATIME_NOW) ? .now : Self.stamp(status.st_atim)
    }
    if has(FUSE_SET_ATTR_MTIME) {
      modified = has(FUSE_SET_ATTR_MTIME_NOW) ? .now : Self.stamp(status.st_mtim)
    }
  }

  private static func stamp(_ time: timespec) -> Stamp {
    let (nanoseconds, overflow) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return .at(time.tv_sec < 0 ? .min : .max) }
    let (sum, isOver) = nanoseconds.addingReportingOverflow(Int64(time.tv_nsec))
    return .at(isOver ? .max : sum)
  }
}

/// A change of an extended attribute.
public enum ExtendedChange: Sendable {
  case set([UInt8])
  case create([UInt8])
  case replace([UInt8])
  case remove
}

/// A lock of fcntl(2), or with `isWhole` of flock(2).
public struct FileLock: Sendable {
  public enum Kind: Sendable { case none, shared, exclusive }

  public var kind: Kind
  public var isWhole: Bool
  /// The owner: the kernel's number of a process or of an open file.
  public var owner: UInt64
  public var range: ClosedRange<UInt64>
  /// 0 if it is unknown.
  public var process: UInt32

  public init(
    kind: Kind, isWhole: Bool, owner: UInt64, range: ClosedRange<UInt64>, process: UInt32
  ) {
    self.kind = kind
    self.isWhole = isWhole
    self.owner = owner
    self.range = range
    self.process = process
  }

  init(_ flock: flock, owner: UInt64) {
    let first = UInt64(flock.l_start)
    let last = flock.l_len == 0 ? UInt64.max : first + UInt64(flock.l_len) - 1
    let kind: Kind =
      switch Int32(flock.l_type) {
      case F_RDLCK: .shared
      case F_WRLCK: .exclusive
      default: .none
      }
    self.init(
      kind: kind, isWhole: false, owner: owner, range: first...last,
      process: UInt32(max(0, flock.l_pid)))
  }

  /// The lock of an operation of flock(2).
  init(operation: Int32, owner: UInt64) {
    let kind: Kind =
      switch operation & ~LOCK_NB {
      case LOCK_SH: .shared
      case LOCK_EX: .exclusive
      default: .none
      }
    self.init(kind: kind, isWhole: true, owner: owner, range: 0...UInt64.max, process: 0)
  }

  var record: fuse_lk_out {
    let type =
      switch kind {
      case .none: F_UNLCK
      case .shared: F_RDLCK
      case .exclusive: F_WRLCK
      }
    // Linux's offsets are signed; the last one stands for the end of every file.
    let range = range.clamped(to: 0...UInt64(Int64.max))
    return fuse_lk_out(
      lk: fuse_file_lock(
        start: range.lowerBound, end: range.upperBound, type: UInt32(type), pid: process))
  }
}
