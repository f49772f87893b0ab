package import VObjects
package import VProtocol

/// The users that senders of requests act as, and that names in a text stand for.
///
/// A user of another host is the user of the same name here if that user's programs run as such,
/// root included; else nobody.
extension RunRules {
  /// The sender of a request.
  package func caller(of request: Request) -> Caller {
    var caller = Caller(request, at: host, trustsRoot: isSameUser)
    if caller.principal.host != host && !isSameUser(caller.principal) {
      caller.user = "\(caller.principal)"
    }
    return caller
  }

  /// The sender, given by a text, of what root of this host passes on in a `request`; nobody if the
  /// text is no principal.
  ///
  /// A text has no marks: a group server writes only root with all of its rights as root.
  package func caller(named text: String, in request: Request) -> Caller {
    var told = request
    var sender = Principal(text) ?? Principal(user: Self.nobody, host: "-")
    if sender.isRoot { sender.marks = .fullRoot }
    told.isLocal = sender.host == host
    told.principal = sender
    return caller(of: told)
  }

  /// Whether a principal of another host is the user of that name here.
  private func isSameUser(_ principal: Principal) -> Bool {
    principal.host != host && runsAsItself(principal)
  }
}
