import Synchronization
import VObjects
public import VProtocol
import VRuntime

/// How prefixes leave the tables of all hosts.
extension Directory {
  /// Sets the silence after which the names of a host are forgotten.
  public func setForgetting(after span: TimeSpan) {
    state.withLock { $0.forgetsAfter = span }
  }

  /// Root of this host has a prefix forgotten, or a manager of this host gives up its own.
  func forget(_ operation: ForgetName, _ caller: Caller, _ request: Request) {
    guard caller.isLocal, caller.principal.isFullRoot else {
      return backplane.refuse(.noPermission, request)
    }
    let prefix = operation.name.name
    let claims = state.withLock { $0.table.claims(forgottenWith: prefix) }
    guard let claim = claims.first(where: { $0.prefix == prefix }) else {
      return backplane.refuse(.notFound, request)
    }
    guard operation.manager == .none else {
      guard claim.manager == operation.manager, isOwn(claim) else {
        return backplane.refuse(.notOwner, request)
      }
      return take([claim], .withdrawn, request)
    }
    guard claim.state == .present else { return take(claims, .forgotten, request) }
    // A manager that is up would only claim it again.
    clients.send(
      ProbeEntity(claim.manager), as: "root", to: .manager(of: claim.manager.kernel),
      at: .kernelManager
    ) { [self] answer in
      if case .done = answer { return backplane.refuse(.inUse, request) }
      take(claims, .forgotten, request)
    }
  }

  private func take(_ claims: [Claim], _ state: Claim.State, _ request: Request) {
    let wallClock = backplane.wallClock
    self.state.withLock {
      $0.table.set(state, of: claims, wallClock)
      $0.changedAt = wallClock
    }
    backplane.reply(Done(), to: request)
    saveLater()
    spreadSoon(claims.map(\.prefix))
  }
}
