package import VObjects
package import VProtocol

/// Who may start programs here, and as which user of this host: the configuration's `run`.
///
/// Users of this host may, each as themselves. Those of other hosts may if a rule says so, as the
/// user of the same name here.
public struct RunRules: Equatable, Sendable {
  private struct Rule: Hashable, Sendable {
    /// Nil is everybody but root.
    var user: String?
    /// Nil is every host.
    var host: String?
  }

  let host: String
  private let rules: [Rule]

  /// `USER@HOST` each, where `*` for either means all; `*` never means root.
  ///
  /// Nil where one of them is something else.
  public init?(_ rules: [String], host: String) {
    self.host = host
    var read: [Rule] = []
    for text in rules {
      guard let principal = Principal(text), !principal.user.contains("@") else { return nil }
      read.append(
        Rule(
          user: principal.user == "*" ? nil : principal.user,
          host: principal.host == "*" ? nil : principal.host))
    }
    self.rules = read
  }

  /// As whom a principal's programs run: nobody also where the host has no user of that name.
  ///
  /// A principal without a rule is refused, and why.
  package func user(startingFor principal: Principal) throws(Refusal) -> String {
    if principal.host == host { return principal.user }
    let fitting = rules.filter { $0.host == nil || $0.host == principal.host }
    if fitting.contains(where: { $0.user == principal.user }) { return principal.user }
    guard fitting.contains(where: { $0.user == nil }) else {
      throw Refusal(.noPermission, "\(host) runs no programs of \(principal)")
    }
    return principal.user == "root" ? Self.nobody : principal.user
  }

  /// As which owner of objects a principal is taken: users are the same if their names are.
  ///
  /// Root of another host is root where its programs would run as root, and else nobody here; and
  /// who has no name on their own host is known there only.
  package func identity(of principal: Principal) -> String {
    if principal.host == host { return principal.user }
    if principal.user.hasPrefix("#") { return "\(principal)" }
    guard principal.user == "root" else { return principal.user }
    let isTrusted = (try? user(startingFor: principal)) == "root"
    return isTrusted ? "root" : "\(principal)"
  }

  package static let nobody = "nobody"
}
