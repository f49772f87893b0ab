import VProtocol
import VRuntime

/// Who asks: the one that objects belong to, and everybody else that could want them.
enum Who: CaseIterable, CustomStringConvertible {
  /// ann of kea, whose everything is.
  case owner
  /// The same user by the node's own mount: for names the same one, for instances another.
  case mounted
  /// The same name on another host.
  case namesake
  /// An ordinary user of the same host.
  case other
  /// The same by the node's own mount, which may open what is only to be run.
  case mountedOther
  /// Who has no rights anywhere.
  case nobody
  /// A number of the same host that has no name.
  case number
  /// The other host's root, which says of itself that it is full.
  case foreignRoot
  /// Root of a container of the other host.
  case foreignContainedRoot
  /// Root of a container of the same host.
  case containedRoot
  /// The same by the node's own mount.
  case mountedContainedRoot
  /// Root of the same host.
  case root

  /// Everybody but the owner: on an instance, nobody of them may do anything.
  static var attackers: [Who] { allCases.filter { $0 != .owner } }
  /// Those who have by a name what the owner has: the same user, however it comes, and root.
  static var heirs: [Who] { [.mounted, .namesake, .root] }
  /// Those without rights on what is the owner's alone.
  static var strangers: [Who] { attackers.filter { !heirs.contains($0) } }

  var host: String {
    switch self {
    case .namesake, .foreignRoot, .foreignContainedRoot: "moa"
    default: "kea"
    }
  }

  var user: ClientUser {
    switch self {
    case .owner, .namesake: ClientUser("ann", marks: [])
    case .mounted: ClientUser("ann", marks: .mountMade)
    case .other: ClientUser("bob", marks: [])
    case .mountedOther: ClientUser("bob", marks: .mountMade)
    case .nobody: ClientUser("nobody", marks: [])
    case .number: ClientUser("#7", marks: [])
    case .foreignRoot, .root: ClientUser("root", marks: .fullRoot)
    case .containedRoot, .foreignContainedRoot: ClientUser("root", marks: [])
    case .mountedContainedRoot: ClientUser("root", marks: .mountMade)
    }
  }

  /// Root of a container of the same host: it has root's rights on file data, and no others.
  var isContainedHere: Bool { self == .containedRoot || self == .mountedContainedRoot }

  var description: String {
    let isContained = isContainedHere || self == .foreignContainedRoot
    return "\(user.name)@\(host)" + (isContained ? " in a container" : "")
      + (user.marks.contains(.mountMade) ? " by the mount" : "")
  }
}
