import CVLinux
import Glibc
public import VProtocol
public import VStore

/// Locks and extended attributes.
extension LinuxStore {
  public func openToLock(
    _ file: StoreHandle, toWrite: Bool
  ) throws(StoreFailure) -> StoreHandle {
    try reopen(file, (toWrite ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK, .mayWait)
  }

  public func lock(
    _ file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>?
  ) throws(StoreFailure) {
    guard let range else {
      let operation =
        switch kind {
        case .none: LOCK_UN
        case .shared: LOCK_SH
        case .exclusive: LOCK_EX
        }
      _ = try Self.checked(v_flock(file.rawValue, operation | LOCK_NB))
      return
    }
    let (start, count) = try Self.linuxRange(range)
    _ = try Self.checked(v_lock_range(file.rawValue, Self.linuxType(kind), start, count))
  }

  public func conflict(
    on file: StoreHandle, _ kind: LockKind, _ range: ClosedRange<UInt64>
  ) throws(StoreFailure) -> RangeLocks.Span? {
    var type = Self.linuxType(kind)
    var (start, count) = try Self.linuxRange(range)
    _ = try Self.checked(unsafe v_query_lock(file.rawValue, &type, &start, &count))
    guard type != F_UNLCK else { return nil }
    let last = count == 0 ? UInt64.max : UInt64(start + count - 1)
    return RangeLocks.Span(
      range: UInt64(start)...last, kind: type == F_WRLCK ? .exclusive : .shared)
  }

  private static func linuxType(_ kind: LockKind) -> Int32 {
    switch kind {
    case .none: F_UNLCK
    case .shared: F_RDLCK
    case .exclusive: F_WRLCK
    }
  }

  /// Start and count for fcntl: a count of 0 means up to the end.
  private static func linuxRange(
    _ range: ClosedRange<UInt64>
  ) throws(StoreFailure) -> (Int64, Int64) {
    guard let start = Int64(exactly: range.lowerBound) else { throw .refused(.badArguments) }
    guard let last = Int64(exactly: range.upperBound), last < Int64.max else { return (start, 0) }
    return (start, last - start + 1)
  }
}

extension LinuxStore {
  public func attribute(
    _ name: [UInt8], of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [UInt8] {
    try acting(as: who) { () throws(StoreFailure) -> [UInt8] in
      var value = [UInt8](repeating: 0, count: ChangeAttribute.valueBytesMax)
      let count = unsafe v_getxattr(
        Self.path(object), Self.terminated(name), &value, value.count)
      return Array(value[..<Int(try Self.checked(count))])
    }
  }

  public func attributeNames(
    of object: StoreHandle, as who: Credentials
  ) throws(StoreFailure) -> [[UInt8]] {
    try acting(as: who) { () throws(StoreFailure) -> [[UInt8]] in
      var names = [CChar](repeating: 0, count: Self.attributeNamesBytesMax)
      let count = unsafe v_listxattr(Self.path(object), &names, names.count)
      return names[..<Int(try Self.checked(count))].split(separator: 0).map { name in
        name.map { UInt8(bitPattern: $0) }
      }
    }
  }

  public func changeAttribute(
    _ name: [UInt8], of object: StoreHandle, _ change: ChangeAttribute.Change,
    as who: Credentials
  ) throws(StoreFailure) {
    let (path, name) = (Self.path(object), Self.terminated(name))
    try acting(as: who) { () throws(StoreFailure) -> Void in
      let result =
        switch change {
        case .set(let value): unsafe v_setxattr(path, name, value, value.count, 0)
        case .create(let value):
          unsafe v_setxattr(path, name, value, value.count, Int32(XATTR_CREATE))
        case .replace(let value):
          unsafe v_setxattr(path, name, value, value.count, Int32(XATTR_REPLACE))
        case .remove: unsafe v_removexattr(path, name)
        }
      _ = try Self.checked(result)
    }
  }

  private static func path(_ object: StoreHandle) -> String { "/proc/self/fd/\(object.rawValue)" }

  /// Linux's XATTR_LIST_MAX.
  private static let attributeNamesBytesMax = 65_536
}
