import VObjects

/// The bounds of a file server: everything in them costs file descriptors of its process.
///
/// ```
/// |<----------------------- descriptors of the process ----------------------->|
/// |      instances: 3/8       |  contexts: 1/4   | locks: 1/8 |  all else: 1/4  |
/// ```
/// So users cannot use up the descriptors of the process, and root of the host never finds the
/// table full: each part but that of contexts, which are dropped when needed, is shared by
/// `Shares`.
public struct FileLimits: Sendable {
  /// One descriptor each, of the open file.
  public var instances: Int
  /// One descriptor each, of the object.
  public var contexts: Int
  /// Objects with locks on ranges, or on the whole: one descriptor each for all their locks.
  public var lockedObjects: Int
  /// Ranges of all owners on all objects.
  public var lockedRanges = Self.lockedRangesMax

  /// The limits for a process that may have so many descriptors.
  public init(descriptors: Int) {
    instances = max(Self.leastMax, min(InstanceLimits.instancesMax, descriptors / 8 * 3))
    contexts = max(Self.leastMax, min(InstanceLimits.contextsMax, descriptors / 4))
    lockedObjects = max(Self.leastMax, min(Self.lockedObjectsMax, descriptors / 8))
  }

  /// Half as many as instances: most files are open without a lock.
  public static let lockedObjectsMax = 8192
  /// Each takes some 200 octets here and in Linux, and one user's share is twice what one owner may
  /// have on one object.
  public static let lockedRangesMax = 32_768
  /// With fewer not every principal has a share.
  private static let leastMax = 64
}
