package import VObjects
package import VProtocol

/// As whom those who ask are taken, and those of whom only a text tells.
///
/// A user of another host is the user of the same name here where their programs run as that user,
/// root among them; else nobody.
extension RunRules {
  /// Who sent a request.
  package func caller(of request: Request) -> Caller {
    var caller = Caller(request, at: host, trustsRoot: runsAsItself)
    if caller.principal.host != host && !runsAsItself(caller.principal) {
      caller.user = "\(caller.principal)"
    }
    return caller
  }

  /// Who sent what root of this host hands on in a `request`, as a text says; nobody where it names
  /// no principal.
  ///
  /// No marks go into a text: who hands on names only root with all of its rights root.
  package func caller(named text: String, in request: Request) -> Caller {
    var told = request
    var sender = Principal(text) ?? Principal(user: Self.nobody, host: "-")
    if sender.isRoot { sender.marks = .fullRoot }
    told.isLocal = sender.host == host
    told.principal = sender
    return caller(of: told)
  }

  /// Whether programs of somebody of another host run as the user of that name.
  private func runsAsItself(_ principal: Principal) -> Bool {
    guard principal.host != host, principal.user != Self.nobody else { return false }
    guard !principal.isRoot || principal.isFullRoot else { return false }
    return (try? user(startingFor: principal)) == principal.user
  }
}
