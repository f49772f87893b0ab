internal import VProtocol
package import VRuntime

/// Users and groups as V sees them: names for numbers and numbers for names.
///
/// They travel by name, or as `#N` if a number has none; a name that this host does not have
/// belongs to nobody. If the table gives no answer, the result is nil, never nobody.
package struct Users: Sendable {
  let table: any UserNames

  package init(table: any UserNames) { self.table = table }

  /// The user `nobody` and the group `nogroup` of Debian, and the kernel's overflow identity.
  private static let nobody: UInt32 = 65534

  /// Root and its group have their names on every host, and need no table.
  package func name(ofUser id: UInt32) -> String? {
    id == 0 ? "root" : Self.name(id, table.userName(id))
  }
  func name(ofGroup id: UInt32) -> String? {
    id == 0 ? "root" : Self.name(id, table.groupName(id))
  }

  /// The calling user as other hosts see it in its principal.
  package func principal(ofUser id: UInt32) -> String? {
    name(ofUser: id).map { Principal.user(ofAccount: $0, number: id) }
  }

  private static func name(_ id: UInt32, _ answer: NameAnswer<String>) -> String? {
    switch answer {
    case .known(let name): name
    case .absent: "#\(id)"
    case .unknown: nil
    }
  }

  func id(ofUser name: String) -> UInt32? {
    name == "root" ? 0 : Self.id(name, table.userID(_:), table.userName(_:))
  }
  func id(ofGroup name: String) -> UInt32? {
    name == "root" ? 0 : Self.id(name, table.groupID(_:), table.groupName(_:))
  }

  /// `#N` also means a number without a name here: it is used as a number only if that number is
  /// not a user of this host.
  private static func id(
    _ name: String, _ id: (String) -> NameAnswer<UInt32>,
    _ nameOfID: (UInt32) -> NameAnswer<String>
  ) -> UInt32? {
    if name.isEmpty { return nobody }
    if let number = number(name) {
      switch nameOfID(number) {
      case .known: return nobody
      case .absent: return number
      case .unknown: return nil
      }
    }
    switch id(name) {
    case .known(let number): return number
    case .absent: return nobody
    case .unknown: return nil
    }
  }
}

/// The numbers of a descriptor's owner and group on this host.
struct OwnerNumbers: Sendable {
  var uid: UInt32
  var gid: UInt32
}

extension Users {
  /// Nil until the table has answered: `questions(about:)` are the questions to ask.
  func numbers(of descriptor: Descriptor) -> OwnerNumbers? {
    guard let uid = id(ofUser: descriptor.owner), let gid = id(ofGroup: descriptor.group) else {
      return nil
    }
    return OwnerNumbers(uid: uid, gid: gid)
  }

  func questions(about descriptor: Descriptor) -> [NameQuestion] {
    let (owner, group) = (descriptor.owner, descriptor.group)
    return [
      Self.number(owner).map { .userName($0) } ?? .userID(owner),
      Self.number(group).map { .groupName($0) } ?? .groupID(group),
    ]
  }

  private static func number(_ name: String) -> UInt32? {
    name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
  }
}
