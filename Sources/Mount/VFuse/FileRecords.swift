internal import CFuse3
internal import CVLinux
internal import Glibc

/// The kind of a node, as Linux sees it.
public enum FileKind: Sendable {
  case file, directory, symbolicLink, fifo, socket, characterDevice, blockDevice

  /// The type bits of a mode.
  var modeBits: UInt32 {
    switch self {
    case .file: S_IFREG
    case .directory: S_IFDIR
    case .symbolicLink: S_IFLNK
    case .fifo: S_IFIFO
    case .socket: S_IFSOCK
    case .characterDevice: S_IFCHR
    case .blockDevice: S_IFBLK
    }
  }

  /// The kind that mknod(2) makes; nil for other modes.
  init?(mode: UInt32) {
    switch mode & S_IFMT {
    case S_IFREG, 0: self = .file
    case S_IFIFO: self = .fifo
    case S_IFSOCK: self = .socket
    case S_IFCHR: self = .characterDevice
    case S_IFBLK: self = .blockDevice
    default: return nil
    }
  }
}

/// The result of stat(2); times are nanoseconds since 1970.
public struct FileAttributes: Sendable {
  public var number: UInt64
  public var kind: FileKind
  public var permissions: UInt32
  public var size: UInt64 = 0
  public var allocatedBytes: UInt64 = 0
  public var links: UInt32 = 1
  public var uid: UInt32 = 0
  public var gid: UInt32 = 0
  public var accessed: Int64 = 0
  public var modified: Int64 = 0
  public var changed: Int64 = 0
  /// The major part in the high word.
  public var deviceNumber: UInt64 = 0
  public var blockSize: UInt32 = 4096

  public init(number: UInt64, kind: FileKind, permissions: UInt32) {
    self.number = number
    self.kind = kind
    self.permissions = permissions
  }

  var record: fuse_attr {
    var record = fuse_attr()
    record.ino = number
    record.size = size
    record.blocks = allocatedBytes / 512
    (record.atime, record.atimensec) = Self.seconds(accessed)
    (record.mtime, record.mtimensec) = Self.seconds(modified)
    (record.ctime, record.ctimensec) = Self.seconds(changed)
    record.mode = kind.modeBits | permissions & 0o7777
    record.nlink = links
    record.uid = uid
    record.gid = gid
    record.rdev = DeviceNumber.encode(deviceNumber)
    record.blksize = blockSize
    return record
  }

  /// Seconds, rounded down also before 1970, and the rest in nanoseconds.
  private static func seconds(_ nanoseconds: Int64) -> (UInt64, UInt32) {
    let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    return remainder < 0
      ? (UInt64(bitPattern: quotient - 1), UInt32(remainder + 1_000_000_000))
      : (UInt64(bitPattern: quotient), UInt32(remainder))
  }
}

/// Device numbers with the major part in the high word and the minor one in the low word, in
/// FUSE's 32 bits: 12 of major in the middle of 20 of minor.
///
/// A larger number cannot be represented.
package enum DeviceNumber {
  package static func encode(_ device: UInt64) -> UInt32 {
    let major = UInt32(truncatingIfNeeded: device >> 32)
    let minor = UInt32(truncatingIfNeeded: device)
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xF_FF00) << 12
  }

  package static func decode(_ device: UInt32) -> UInt64 {
    let minor = device & 0xFF | device >> 12 & 0xF_FF00
    return UInt64(device >> 8 & 0xFFF) << 32 | UInt64(minor)
  }
}

/// The answer that finds or makes a node; the kernel then counts one lookup of it.
public struct FileEntry: Sendable {
  public var node: NodeNumber
  public var attributes: FileAttributes
  /// How long the kernel may use the name for this node without asking.
  public var validitySeconds: UInt64

  public init(node: NodeNumber, attributes: FileAttributes, validitySeconds: UInt64 = 0) {
    self.node = node
    self.attributes = attributes
    self.validitySeconds = validitySeconds
  }

  var record: fuse_entry_out {
    var record = fuse_entry_out()
    record.nodeid = node
    record.entry_valid = validitySeconds
    record.attr = attributes.record
    return record
  }
}

/// The answer to an open.
public struct OpenedFile: Sendable {
  public var handle: HandleNumber
  /// The path of reads and writes.
  public var way: Way

  public enum Way: Sendable {
    /// The kernel reads directories in its own way.
    case directory
    /// Each read and write is a request.
    case requests(isStream: Bool, isSeekable: Bool)
    /// Without this process, through this backing file.
    case backing(Int32)
  }

  public init(handle: HandleNumber, way: Way) {
    self.handle = handle
    self.way = way
  }
}

/// The result of statfs(2).
public struct StoreRecord: Sendable {
  public var blockSize: UInt32
  public var blocks: UInt64
  public var blocksFree: UInt64
  public var blocksAvailable: UInt64
  public var objects: UInt64
  public var objectsFree: UInt64
  public var nameBytesMax: UInt32

  public init(
    blockSize: UInt32, blocks: UInt64, blocksFree: UInt64, blocksAvailable: UInt64,
    objects: UInt64, objectsFree: UInt64, nameBytesMax: UInt32
  ) {
    self.blockSize = blockSize
    self.blocks = blocks
    self.blocksFree = blocksFree
    self.blocksAvailable = blocksAvailable
    self.objects = objects
    self.objectsFree = objectsFree
    self.nameBytesMax = nameBytesMax
  }

  var record: fuse_statfs_out {
    var record = fuse_statfs_out()
    record.st.bsize = blockSize
    record.st.frsize = blockSize
    record.st.blocks = blocks
    record.st.bfree = blocksFree
    record.st.bavail = blocksAvailable
    record.st.files = objects
    record.st.ffree = objectsFree
    record.st.namelen = nameBytesMax
    return record
  }
}
