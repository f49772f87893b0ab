import Synchronization
import VProtocol
import VRuntime

/// Frees the instances and locks of processes that are no more.
///
/// Death is silent in V: nobody is told. So the server asks, now and then, whether the owner of
/// an instance lives: its kernel's manager answers, or, of a host that is away, nobody does for so
/// long that the instance is given up.
final class OwnerWatch: Sendable {
  private struct State: Sendable {
    var isDue = false
    /// Since when the kernel of an owner has not answered.
    var silentSince: [KernelID: Time] = [:]
  }

  private let backplane: any Backplane
  private let instances: Instances
  private let free: @Sendable (EntityID) -> Void
  private let clients: ClientPool
  private let state = Mutex(State())

  /// A dead process's instances are gone 5 s after its death, so it is asked for more often.
  static let interval = TimeSpan.seconds(4)
  /// Those of a silent host stay this long: it may have been cut off for a moment only.
  static let silenceMax = TimeSpan.seconds(10)

  /// `free` is told of each process that is no more.
  init(
    _ backplane: any Backplane, _ instances: Instances,
    free: @escaping @Sendable (EntityID) -> Void
  ) {
    self.backplane = backplane
    self.instances = instances
    self.free = free
    clients = ClientPool(backplane)
  }

  /// Sees to it that owners are asked for as long as there are instances; called for each new one.
  func watchLater() {
    let isFirst = state.withLock { state in
      defer { state.isDue = true }
      return !state.isDue
    }
    guard isFirst else { return }
    backplane.after(Self.interval) { [weak self] in self?.watch() }
  }

  private func watch() {
    state.withLock { $0.isDue = false }
    let owners = instances.owners()
    guard !owners.isEmpty else { return }
    for owner in owners {
      clients.send(ProbeEntity(entity: owner), as: "root", to: .manager(of: owner.kernel)) {
        [weak self] answer in self?.handle(answer, about: owner)
      }
    }
    watchLater()
  }

  private func handle(_ answer: Answer<ProbeEntity.EntityState>, about owner: EntityID) {
    switch answer {
    case .done:
      state.withLock { _ = $0.silentSince.removeValue(forKey: owner.kernel) }
    case .refused(.nonexistentEntity):
      free(owner)
    case .refused:
      let now = backplane.now
      let since = state.withLock { state in
        if let since = state.silentSince[owner.kernel] { return since }
        state.silentSince[owner.kernel] = now
        return now
      }
      // The first answer to fail has itself taken the time that makes a peer silent.
      if now - since + .seconds(2) >= Self.silenceMax { free(owner) }
    }
  }
}
