import VProtocol
import VRuntime

/// Who asks: the one that objects belong to, and everybody else that could want them.
enum Who: CaseIterable, CustomStringConvertible {
  /// ann of kea, whose everything is.
  case owner
  /// An ordinary user of the same host.
  case other
  /// The same name on another host.
  case namesake
  /// That host's root, which says of itself that it is full.
  case foreignRoot
  /// Root of a container of the same host.
  case containedRoot
  /// Root of the same host.
  case root

  /// Everybody but the owner: on an instance, nobody of them may do anything.
  static var attackers: [Who] { allCases.filter { $0 != .owner } }
  /// Those without rights on what is the owner's alone.
  static var strangers: [Who] { [.other, .foreignRoot, .containedRoot] }

  var host: String { self == .namesake || self == .foreignRoot ? "moa" : "kea" }

  var user: ClientUser {
    switch self {
    case .owner, .namesake: ClientUser("ann", marks: [])
    case .other: ClientUser("bob", marks: [])
    case .foreignRoot, .root: ClientUser("root", marks: .fullRoot)
    case .containedRoot: ClientUser("root", marks: [])
    }
  }

  var description: String {
    "\(user.name)@\(host)" + (self == .containedRoot ? " in a container" : "")
  }
}
