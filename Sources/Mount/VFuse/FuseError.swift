internal import Glibc

/// The error numbers that a file system itself gives.
public enum FuseError {
  public static let again = EAGAIN
  public static let badHandle = EBADF
  public static let interrupted = EINTR
  public static let invalid = EINVAL
  public static let input = EIO
  public static let nameTooLong = ENAMETOOLONG
  public static let noAttribute = ENODATA
  public static let noLocks = ENOLCK
  public static let notPermitted = EPERM
  public static let notSupported = EOPNOTSUPP
  public static let outOfRange = ERANGE
  public static let stale = ESTALE
  public static let tooLarge = E2BIG
}
