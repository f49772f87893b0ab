internal import CFuse3
internal import CVLinux
internal import Glibc

/// Directory entries in the kernel's form, up to a number of octets; an entry is never split.
public struct EntryBuffer: Sendable {
  package private(set) var bytes: [UInt8] = []
  private let bytesMax: Int

  public init(bytesMax: Int) { self.bytesMax = bytesMax }

  /// Adds an entry whose successor has the offset `next`; false if it does not fit.
  @discardableResult
  public mutating func add(
    _ name: [UInt8], _ number: UInt64, _ kind: FileKind, next: UInt64
  ) -> Bool {
    let size = (MemoryLayout<fuse_dirent>.size + name.count + 7) / 8 * 8
    guard bytes.count + size <= bytesMax else { return false }
    var entry = fuse_dirent()
    entry.ino = number
    entry.off = next
    entry.namelen = UInt32(name.count)
    entry.type = kind.modeBits >> 12
    unsafe withUnsafeBytes(of: entry) { unsafe bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: name)
    while bytes.count % 8 != 0 { bytes.append(0) }
    return true
  }
}
