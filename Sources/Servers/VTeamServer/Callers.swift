package import VObjects
package import VProtocol

/// As whom those who ask are taken, and those of whom only a text tells.
///
/// A user of another host is the user of the same name here where their programs run as that user,
/// root among them; else nobody.
extension RunRules {
  /// Who sent a request.
  package func caller(of request: Request) -> Caller {
    var caller = Caller(request, at: host, trustsRoot: isSameUser)
    if caller.principal.host != host && !isSameUser(caller.principal) {
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

  /// Whether somebody of another host is the user of that name here.
  private func isSameUser(_ principal: Principal) -> Bool {
    principal.host != host && runsAsItself(principal)
  }
}
