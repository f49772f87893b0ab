internal import VProtocol

/// The user table of this host, as a mount asks it; nil where it has no such user or group.
public protocol UserNames: Sendable {
  func userName(_ id: UInt32) -> String?
  func groupName(_ id: UInt32) -> String?
  func userID(_ name: String) -> UInt32?
  func groupID(_ name: String) -> UInt32?
}

/// Users and groups as V sees them: names for numbers and numbers for names.
///
/// They travel by name, or as `#N` where a number has none; a name that this host does not have
/// belongs to nobody.
struct Users: Sendable {
  let table: any UserNames

  /// The user `nobody` and the group `nogroup` of Debian, and the kernel's overflow identity.
  private static let nobody: UInt32 = 65534

  func name(ofUser id: UInt32) -> String { table.userName(id) ?? "#\(id)" }
  func name(ofGroup id: UInt32) -> String { table.groupName(id) ?? "#\(id)" }

  func id(ofUser name: String) -> UInt32 {
    Self.id(name, table.userID(_:), table.userName(_:))
  }
  func id(ofGroup name: String) -> UInt32 {
    Self.id(name, table.groupID(_:), table.groupName(_:))
  }

  /// `#N` means a number without a name here as well: shown as it is only where it would not look
  /// like somebody of this host.
  private static func id(
    _ name: String, _ id: (String) -> UInt32?, _ nameOfID: (UInt32) -> String?
  ) -> UInt32 {
    guard name.hasPrefix("#"), let number = UInt32(name.dropFirst()) else {
      return id(name) ?? nobody
    }
    return nameOfID(number) == nil ? number : nobody
  }
}
