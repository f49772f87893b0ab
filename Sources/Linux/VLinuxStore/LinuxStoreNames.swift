import CVLinux
import Glibc
public import VProtocol
public import VStore

/// Changes of names and attributes.
extension LinuxStore {
  public func add(
    _ name: [UInt8], in directory: StoreHandle, _ object: NewObject, as who: Credentials
  ) throws(StoreFailure) {
    let name = Self.terminated(name)
    _ = try acting(as: who) { () throws(StoreFailure) -> Int32 in
      switch object {
      case .directory(let permissions):
        return try Self.checked(unsafe v_mkdir(directory.rawValue, name, permissions & 0o7777))
      case .symbolicLink(let target):
        return try Self.checked(
          unsafe v_symlink(Self.terminated(target), directory.rawValue, name))
      case .node(let kind, let permissions, let deviceNumber):
        let makeable: [ObjectKind] = [.file, .fifo, .socket, .characterDevice, .blockDevice]
        guard makeable.contains(kind), let type = Self.types.first(where: { $0.kind == kind })?.type
        else { throw .refused(.badArguments) }
        return try Self.checked(
          unsafe v_mknod(directory.rawValue, name, type | permissions & 0o7777, deviceNumber))
      case .link(let source):
        return try Self.checked(
          unsafe v_link(descriptors, "\(source.rawValue)", directory.rawValue, name))
      }
    }
  }

  public func remove(
    _ name: [UInt8], in directory: StoreHandle, isDirectory: Bool, as who: Credentials
  ) throws(StoreFailure) {
    _ = try acting(as: who) { () throws(StoreFailure) -> Int32 in
      try Self.checked(
        unsafe v_unlink(directory.rawValue, Self.terminated(name), isDirectory ? 1 : 0))
    }
  }

  public func rename(
    _ oldName: [UInt8], in oldDirectory: StoreHandle, to newName: [UInt8],
    in newDirectory: StoreHandle, _ mode: RenameObject.Mode, as who: Credentials
  ) throws(StoreFailure) {
    let flags: UInt32 =
      switch mode {
      case .replace: 0
      case .noReplace: UInt32(V_RENAME_NOREPLACE)
      case .exchange: UInt32(V_RENAME_EXCHANGE)
      }
    _ = try acting(as: who) { () throws(StoreFailure) -> Int32 in
      try Self.checked(
        unsafe v_rename(
          oldDirectory.rawValue, Self.terminated(oldName), newDirectory.rawValue,
          Self.terminated(newName), flags))
    }
  }

  public func change(
    _ handle: StoreHandle, isOpenFile: Bool, _ change: Change, as who: Credentials
  ) throws(StoreFailure) {
    try acting(as: who) { () throws(StoreFailure) -> Void in
      if let size = change.size { try setSize(handle, isOpenFile: isOpenFile, size) }
      if change.uid != nil || change.gid != nil {
        _ = try Self.checked(
          v_chown(handle.rawValue, change.uid ?? Self.unchanged, change.gid ?? Self.unchanged))
      }
      if let permissions = change.permissions {
        // Through the descriptor directory, because fchmod takes no O_PATH descriptor.
        _ = try Self.checked(
          unsafe v_chmod(descriptors, "\(handle.rawValue)", permissions & 0o7777))
      }
      if change.accessed != nil || change.modified != nil {
        let times = [Self.time(change.accessed), Self.time(change.modified)]
        _ = try Self.checked(unsafe v_utimens(handle.rawValue, times))
      }
    }
  }

  private func setSize(
    _ handle: StoreHandle, isOpenFile: Bool, _ size: UInt64
  ) throws(StoreFailure) {
    guard let size = Int64(exactly: size) else { throw .refused(.tooLarge) }
    if isOpenFile {
      _ = try Self.checked(v_ftruncate(handle.rawValue, size))
    } else {
      try resize(handle, size)
    }
  }

  private static func time(_ stamp: Modification.Stamp?) -> timespec {
    switch stamp {
    case nil: return timespec(tv_sec: 0, tv_nsec: omit)
    case .now: return timespec(tv_sec: 0, tv_nsec: now)
    case .at(let nanoseconds):
      // The nanoseconds of a timespec are positive before 1970 too.
      let rest = nanoseconds % 1_000_000_000
      let seconds = nanoseconds / 1_000_000_000
      return rest < 0
        ? timespec(tv_sec: Int(seconds - 1), tv_nsec: Int(rest + 1_000_000_000))
        : timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
    }
  }

  /// UTIME_NOW and UTIME_OMIT of Linux.
  private static let now = (1 << 30) - 1
  private static let omit = (1 << 30) - 2
  /// An id that chown leaves as it is.
  private static let unchanged = UInt32.max
}
