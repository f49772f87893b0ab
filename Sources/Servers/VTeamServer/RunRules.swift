import Synchronization
package import VProtocol

/// Which principals may start programs here, and as which user of this host: the configuration's
/// `run` and `guest_user`.
///
/// Users of this host may, each as themselves. Users of other hosts may if a rule allows it, as the
/// user of the same name here, or without one as the guest user, if there is one. When the
/// configuration is read again, new rules replace these while the server runs.
public final class RunRules: Sendable {
  private struct Rule: Hashable, Sendable {
    /// Nil for all users but root.
    var user: String?
    /// Nil for all hosts.
    var host: String?
  }

  private struct State: Sendable {
    var rules: [Rule]
    var guest: String?
  }

  let host: String
  private let state: Mutex<State>

  /// Takes `USER@HOST` each, where `*` for either means all but never root.
  ///
  /// `guest` is an account of this host.
  ///
  /// Nil if one of the rules is malformed.
  public init?(_ rules: [String], host: String, guest: String? = nil) {
    precondition(guest.map(Self.canBeGuest) != false, "a guest is neither root nor nobody")
    self.host = host
    var read: [Rule] = []
    for text in rules {
      guard let principal = Principal(text), !principal.user.contains("@") else { return nil }
      read.append(
        Rule(
          user: principal.user == "*" ? nil : principal.user,
          host: principal.host == "*" ? nil : principal.host))
    }
    state = Mutex(State(rules: read, guest: guest))
  }

  /// Replaces the rules; running programs go on.
  public func replace(by others: RunRules) {
    let new = others.state.withLock { $0 }
    state.withLock { $0 = new }
  }

  private var rules: [Rule] { state.withLock { $0.rules } }
  private var guest: String? { state.withLock { $0.guest } }

  /// Whether guests may run as the user of this name, if there is one.
  public static func canBeGuest(_ user: String) -> Bool {
    Principal.isName(user) && !user.hasPrefix("#") && !user.contains("@") && user != "root"
      && user != nobody
  }

  /// The user that a principal's programs run as, if this host has that user; nil for a guest.
  ///
  /// A principal that may not start programs is refused, with the reason.
  package func user(startingFor principal: Principal) throws(Refusal) -> String? {
    let isAccount = !principal.user.hasPrefix("#") && principal.user != Self.nobody
    if principal.host == host {
      guard isAccount else { throw hasNo(principal) }
      guard !principal.isRoot || principal.isFullRoot else {
        throw Refusal(
          .noPermission, "root of a container, without all rights over \(host), runs no programs")
      }
      return principal.user
    }
    let fitting = rules.filter { $0.host == nil || $0.host == principal.host }
    if fitting.contains(where: { $0.user == principal.user }), isAccount,
      !principal.isRoot || principal.isFullRoot
    {
      return principal.user
    }
    guard fitting.contains(where: { $0.user == nil || $0.user == principal.user }),
      guest != nil || !principal.isRoot
    else {
      throw Refusal(
        .noPermission,
        "\(host) runs no programs of \(principal): run in its vnode.toml says whose it runs")
    }
    if isAccount && !principal.isRoot { return principal.user }
    guard guest != nil else { throw hasNo(principal) }
    return nil
  }

  /// The user for programs of a principal without a user here: never nobody.
  package func guest(for principal: Principal) throws(Refusal) -> String {
    guard principal.host != host, let guest else { throw hasNo(principal) }
    return guest
  }

  /// The reason why a principal without a user here runs nothing.
  package func hasNo(_ principal: Principal) -> Refusal {
    let guest = principal.host == host ? nil : guest
    return Refusal(
      .noPermission,
      "\(host) has no user \(principal.user)" + (guest.map { ", nor its guest user \($0)" } ?? ""))
  }

  /// The owner of objects that a principal acts as: principals that may run programs here are the
  /// same if their names are equal, and all others are told apart by name and host.
  ///
  /// Root is root only if programs of that root would run as root.
  package func identity(of principal: Principal) -> String {
    let isOwn = principal.host == host && !principal.isRoot
    return isOwn || runsAsItself(principal) ? principal.user : "\(principal)"
  }

  /// Whether programs of a principal run as the user of that name.
  func runsAsItself(_ principal: Principal) -> Bool {
    (try? user(startingFor: principal)) == principal.user
  }

  package static let nobody = "nobody"
}
