internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// READDIR. OPENDIR, RELEASEDIR and FSYNCDIR are those of files.
///
/// The offsets for Linux: 0 is `.`, 1 is `..`, and 2 + p is the manager's position p, whose
/// positions start at 0 without those two. The offset of an entry is that of its successor.
/// Positions above 2^63 - 3 are cut to that one, which is behind every entry.
extension Mount {
  public func readDirectory(
    _ request: FuseRequest, _ node: NodeNumber, _ handle: HandleNumber, room: Int,
    at offset: UInt64
  ) {
    guard let known = client.objects[node] else { return request.fail(FuseError.stale) }
    var front = EntryBuffer(bytesMax: room)
    let parentNumber = client.objects[known.parent]?.number ?? known.number
    if offset < 1 { front.add(Self.dot, known.number, .directory, next: 1) }
    if offset < 2 { front.add(Self.dot + Self.dot, parentNumber, .directory, next: 2) }
    // A record takes three times the room of an entry, so a whole group is requested even if the
    // kernel has room only for a page.
    call(request).readRecords(handle, from: offset < 2 ? 0 : offset - 2) { [front] answer in
      request.finish(answer) { records in
        request.reply(Self.fill(front, records, known.object.tree))
      }
    }
  }

  /// Adds as many entries as there is room for.
  private static func fill(
    _ front: EntryBuffer, _ records: [Descriptor], _ tree: Tree
  ) -> EntryBuffer {
    var entries = front
    for record in records {
      let number = tree.number(of: record.identity)
      let next = 2 + min(record.nextPosition, UInt64(Int64.max) - 2)
      guard entries.add(record.name, number, kind(record.kind), next: next) else { break }
    }
    return entries
  }

  private static let dot = [UInt8(ascii: ".")]
}
