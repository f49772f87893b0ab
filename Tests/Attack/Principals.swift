import VProtocol
import VRuntime

/// The principals of the attacks: the owner of the objects, and all others.
enum Who: CaseIterable, CustomStringConvertible {
  /// ann of kea, the owner.
  case owner
  /// The same user through the node's own mount: the same for names, another one for instances.
  case mounted
  /// The same name on another host.
  case namesake
  /// An ordinary user of the same host.
  case other
  /// The same through the node's own mount, which may open programs that may only be run.
  case mountedOther
  /// The user without rights anywhere.
  case nobody
  /// A user number of the same host without a name.
  case number
  /// The other host's root, marked as full by its own host.
  case foreignRoot
  /// Root of a container of the other host.
  case foreignContainedRoot
  /// Root of a container of the same host.
  case containedRoot
  /// The same through the node's own mount.
  case mountedContainedRoot
  /// Root of the same host.
  case root

  /// All but the owner: none of them may use an instance.
  static var attackers: [Who] { allCases.filter { $0 != .owner } }
  /// Those with the owner's rights by name: the same user, by either way, and root.
  static var heirs: [Who] { [.mounted, .namesake, .root] }
  /// Those without rights on private objects of the owner.
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
