public import VProtocol
public import VRuntime

extension ChangeGroup {
  /// How long the answer of the named host's group server is waited for.
  public static let timeLimit = TimeSpan.seconds(2)
}

extension Backplane {
  /// Asks the group server of the host that `change` names; `done` is called once, with nil when it
  /// is done.
  ///
  /// Refusals are that server's; `retransmissionTimeout` if it does not answer.
  public func ask(
    _ change: ChangeGroup, by party: Party, as user: ClientUser,
    _ done: @escaping @Sendable (Refusal?) -> Void
  ) {
    let client = makeClient(user)
    send(
      change.message, PartySend(party, to: .groupMembership), from: client,
      to: .groupManagerGroup,
      options: SendOptions(timeLimit: ChangeGroup.timeLimit)
    ) { [self] response in
      retire(client)
      if response.code.isOK { return done(nil) }
      let isSilent = [.userTimeout, .retransmissionTimeout].contains(response.code)
      done(
        isSilent
          ? Refusal(
            .retransmissionTimeout, "the group server of \(change.host) does not answer")
          : Refusal(response.message))
    }
  }
}
