internal import VProtocol
internal import VRuntime

/// What a silent manager is told later.
extension Client {
  /// A manager that hears nothing for longer has taken back itself what this host had.
  private static let tellingsMax = 15
  private static let tellingInterval = TimeSpan.seconds(1)

  /// Sees to it that a manager which fell silent does not go on with an operation whose outcome
  /// nobody will know; `undo` is called if it has been done by then.
  ///
  /// With `client` none nothing waits there: what was asked has been done, or will never be.
  func withdraw(
    _ client: EntityID, at manager: EntityID, as user: ClientUser,
    _ undo: @escaping @Sendable () -> Void
  ) {
    tell(CancelWait(client), to: manager, as: user) { answer in
      if case .refused(.notFound) = answer { undo() }
    }
  }

  /// Ends an instance; no program waits for that, so a manager that is silent, or is asked too much
  /// by this user, is told later.
  func release(
    _ instance: InstanceID, of manager: EntityID, as user: ClientUser,
    then: @escaping @Sendable () -> Void = {}
  ) {
    tell(ReleaseInstance(instance), to: manager, as: user) { _ in then() }
  }

  private func tell<Op: Operation>(
    _ operation: Op, to manager: EntityID, as user: ClientUser, triesLeft: Int = Client.tellingsMax,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    clients.send(operation, as: user, to: manager) { [self] answer in
      switch answer {
      case .refused(.retransmissionTimeout), .refused(.busy):
        if triesLeft == 0 { return then(answer) }
      default: return then(answer)
      }
      backplane.after(Self.tellingInterval) { [self] in
        tell(operation, to: manager, as: user, triesLeft: triesLeft - 1, then: then)
      }
    }
  }
}
