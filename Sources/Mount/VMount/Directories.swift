internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// READDIR. OPENDIR, RELEASEDIR and FSYNCDIR are those of files.
///
/// The offsets that Linux sees: 0 is `.`, 1 is `..`, and 2 + p is the manager's position p, whose
/// positions start at 0 and do not count those two. The offset of an entry is where reading goes
/// on behind it. Positions above 2^63 - 3 are given as that one, which is behind every entry.
extension FuseRequest {
  func readDirectory(_ id: NodeID, _ handle: HandleID, bytesMax: Int, at offset: UInt64) {
    guard let node = mount.nodes[id] else { return fail(ESTALE) }
    var front = EntryBuffer(bytesMax: bytesMax)
    let parentNumber = mount.nodes[node.parent]?.inodeNumber ?? node.inodeNumber
    if offset < 1 { front.add(Self.dot, node.inodeNumber, S_IFDIR, next: 1) }
    if offset < 2 { front.add(Self.dot + Self.dot, parentNumber, S_IFDIR, next: 2) }
    let position = offset < 2 ? 0 : offset - 2
    // A record takes three times the room of an entry, so a whole group is asked for even if
    // the kernel has room for a page only.
    use(handle) {
      ReadInstance($0, position: position, count: Message.segmentBytesMax)
    } then: { [self, front] answer in
      switch answer {
      case .done(let block, _):
        guard let filled = Self.fill(front, block.data, node.object.tree) else { return fail(EIO) }
        reply(filled.bytes)
      case .refused(.endOfFile): reply(front.bytes)
      case .refused(let code): fail(code)
      }
    }
  }

  /// Adds the entries of a block of descriptors, as many as there is room for; nil if it is not
  /// one.
  private static func fill(_ front: EntryBuffer, _ block: [UInt8], _ tree: Tree) -> EntryBuffer? {
    var entries = front
    var reader = SegmentReader(block)
    while reader.remaining > 0 {
      guard let descriptor = try? Descriptor(parsing: &reader) else { return nil }
      let number = tree.inodeNumber(of: descriptor.identity)
      let next = 2 + min(descriptor.nextPosition, UInt64(Int64.max) - 2)
      guard entries.add(descriptor.name, number, Mount.fileType(descriptor.kind), next: next)
      else {
        break
      }
    }
    return entries
  }

  private static let dot = [UInt8(ascii: ".")]
}

/// Directory entries in the kernel's form, up to a number of octets; none is ever split.
struct EntryBuffer: Sendable {
  private(set) var bytes: [UInt8] = []
  private let bytesMax: Int

  init(bytesMax: Int) { self.bytesMax = bytesMax }

  /// Adds an entry of a file type, behind which reading goes on at `next`; false if it does not
  /// fit.
  @discardableResult
  mutating func add(
    _ name: [UInt8], _ inodeNumber: UInt64, _ fileType: UInt32, next: UInt64
  ) -> Bool {
    let size = (MemoryLayout<fuse_dirent>.size + name.count + 7) / 8 * 8
    guard bytes.count + size <= bytesMax else { return false }
    var entry = fuse_dirent()
    entry.ino = inodeNumber
    entry.off = next
    entry.namelen = UInt32(name.count)
    entry.type = (fileType & S_IFMT) >> 12
    unsafe withUnsafeBytes(of: entry) { unsafe bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: name)
    while bytes.count % 8 != 0 { bytes.append(0) }
    return true
  }
}
