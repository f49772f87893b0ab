/// Why there is no mount.
///
/// Each case prints as a sentence that tells what to do.
public enum MountError: Error, Equatable, Sendable {
  case noDevice(mountPoint: String)
  case noPermission(mountPoint: String)
  case noMountPoint(String)
  case notDirectory(String)
  /// A system call failed, and there is no special sentence for it.
  case failed(mountPoint: String, call: String, errno: Int32)
}

extension MountError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .noDevice(let mountPoint):
      "cannot mount \(mountPoint): there is no /dev/fuse; load the module with `modprobe fuse`"
    case .noPermission(let mountPoint):
      "cannot mount \(mountPoint): not permitted; run as root, or with CAP_SYS_ADMIN and read "
        + "and write permission on /dev/fuse"
    case .noMountPoint(let mountPoint):
      "cannot mount \(mountPoint): no such directory; make it with `mkdir -p \(mountPoint)`"
    case .notDirectory(let mountPoint):
      "cannot mount \(mountPoint): it is not a directory; name one in the configuration"
    case .failed(let mountPoint, let call, let errno):
      "cannot mount \(mountPoint): \(call) failed with error \(errno); see `dmesg` for a reason"
    }
  }
}
