internal import VProtocol
internal import VRuntime

/// Requests that a silent manager gets later.
extension Client {
  /// A manager that heard nothing for longer has closed by itself what this host had open.
  private static let tellingsMax = 15
  private static let tellingInterval = TimeSpan.seconds(1)

  /// Makes sure that a manager which fell silent does not complete an operation whose outcome is
  /// unknown; `undo` is called if it has completed it.
  ///
  /// If `client` is `none`, nothing waits at the manager: the operation was done, or never will be.
  func withdraw(
    _ client: EntityID, at manager: EntityID, as user: ClientUser,
    _ undo: @escaping @Sendable () -> Void
  ) {
    tell(CancelWait(client), to: manager, as: user) { answer in
      if case .refused(.notFound) = answer { undo() }
    }
  }

  /// Ends an instance.
  ///
  /// No program waits for that, so a manager that is silent, or has too many requests of this user,
  /// is asked later.
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
