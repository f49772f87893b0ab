/// The attributes of an object to change, with their new values: one record for all of them.
///
/// ```
/// 0  mask 4 | permissions 4 | 8 size 8 | 16 accessed 8 | 24 modified 8 | owner, group as text
/// ```
public struct Modification: Equatable, Sendable {
  /// A time to set: the manager's own clock, or nanoseconds since 1970.
  public enum Stamp: Equatable, Sendable {
    case now
    case at(Int64)
  }

  public var permissions: UInt32?
  public var size: UInt64?
  public var owner: String?
  public var group: String?
  public var accessed: Stamp?
  public var modified: Stamp?
  /// Drop set-user and set-group bits where this change would.
  public var dropsPrivileges = false

  public init() {}

  public init(parsing reader: inout SegmentReader) throws(WireError) {
    let mask = try reader.integer(UInt32.self)
    let permissions = try reader.integer(UInt32.self)
    let size = try reader.integer(UInt64.self)
    let accessed = try reader.integer(Int64.self)
    let modified = try reader.integer(Int64.self)
    let owner = try reader.text()
    let group = try reader.text()
    if mask & 1 != 0 { self.permissions = permissions }
    if mask & 2 != 0 { self.size = size }
    if mask & 4 != 0 { self.owner = owner }
    if mask & 8 != 0 { self.group = group }
    if mask & 16 != 0 { self.accessed = mask & 32 != 0 ? .now : .at(accessed) }
    if mask & 64 != 0 { self.modified = mask & 128 != 0 ? .now : .at(modified) }
    dropsPrivileges = mask & 256 != 0
  }

  public var octets: [UInt8] {
    var writer = SegmentWriter()
    var mask: UInt32 = dropsPrivileges ? 256 : 0
    if permissions != nil { mask |= 1 }
    if size != nil { mask |= 2 }
    if owner != nil { mask |= 4 }
    if group != nil { mask |= 8 }
    let (accessedNanoseconds, accessedMask) = Self.fields(of: accessed, present: 16, now: 32)
    let (modifiedNanoseconds, modifiedMask) = Self.fields(of: modified, present: 64, now: 128)
    writer.integer(mask | accessedMask | modifiedMask)
    writer.integer(permissions ?? 0)
    writer.integer(size ?? 0)
    writer.integer(accessedNanoseconds)
    writer.integer(modifiedNanoseconds)
    writer.text(owner ?? "")
    writer.text(group ?? "")
    return writer.bytes
  }

  private static func fields(
    of stamp: Stamp?, present: UInt32, now: UInt32
  ) -> (Int64, UInt32) {
    switch stamp {
    case nil: (0, 0)
    case .now: (0, present | now)
    case .at(let nanoseconds): (nanoseconds, present)
    }
  }
}
