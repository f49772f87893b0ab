import VObjects

/// How much a file server keeps: all of it costs file descriptors of its process.
///
/// ```
/// |<----------------------- descriptors of the process ----------------------->|
/// |      instances: 3/8       |  contexts: 1/4   | locks: 1/8 |  all else: 1/4  |
/// ```
/// So the process never lacks one because of users, and root of the host never meets the end of
/// the table: each part but that of contexts, which make room, is shared as `Shares` says.
public struct FileLimits: Sendable {
  /// One descriptor each, of the open file.
  public var instances: Int
  /// One descriptor each, of the object.
  public var contexts: Int
  /// Objects of which ranges, or the whole, are locked: one descriptor each for all their locks.
  public var lockedObjects: Int
  /// Ranges of all owners on all objects.
  public var lockedRanges = Self.lockedRangesMax

  /// What a process can keep that may have so many descriptors.
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
  /// With fewer not everybody has a share.
  private static let leastMax = 64
}
