import Synchronization
public import VProtocol

/// Asks now and then whether processes live that something is kept for: death is silent in V.
///
/// A process is given up when its kernel says that it is gone, or has been silent for so long that
/// it may be. It asks only while there is somebody to ask about.
public final class LifeWatch: Sendable {
  private let backplane: any Backplane
  private let clients: ClientPool
  private let processes: @Sendable () -> Set<EntityID>
  private let told: @Sendable (EntityID, Life) -> Void
  private let isDue = Atomic(false)
  /// Since when the kernel of a process has not answered.
  private let silentSince = Mutex<[KernelID: Time]>([:])

  /// What a dead process had is given back 5 s after its death, so it is asked for more often.
  private static let interval = TimeSpan.seconds(4)
  /// That of a silent host stays this long: it may have been cut off for a moment only.
  private static let silenceMax = TimeSpan.seconds(10)

  /// What is known of a process.
  public enum Life: Sendable {
    case alive(ProbeEntity.EntityState)
    case dead
    /// Its kernel has been silent for so long that it is given up; it may live.
    case silent

    /// What its kernel says; nil where it is given up.
    public var state: ProbeEntity.EntityState? {
      if case .alive(let state) = self { state } else { nil }
    }
  }

  /// `told` gets what is known of each of `processes`.
  public init(
    _ backplane: any Backplane, of processes: @escaping @Sendable () -> Set<EntityID>,
    _ told: @escaping @Sendable (EntityID, Life) -> Void
  ) {
    self.backplane = backplane
    self.processes = processes
    self.told = told
    clients = ClientPool(backplane, of: .server)
  }

  /// Called for each new process.
  public func watchLater() {
    guard !isDue.exchange(true, ordering: .acquiringAndReleasing) else { return }
    backplane.after(Self.interval) { [weak self] in self?.watch() }
  }

  private func watch() {
    isDue.store(false, ordering: .releasing)
    let processes = processes()
    guard !processes.isEmpty else { return }
    for process in processes {
      clients.send(
        ProbeEntity(process), as: "root", to: .manager(of: process.kernel), at: .kernelManager
      ) { [weak self] answer in self?.handle(answer, about: process) }
    }
    watchLater()
  }

  private func handle(_ answer: Answer<ProbeEntity.EntityState>, about process: EntityID) {
    switch answer {
    case .done(let alive, _):
      silentSince.withLock { $0[process.kernel] = nil }
      told(process, .alive(alive))
    case .refused(.nonexistentEntity), .refused(.outcomeUnknown):
      told(process, .dead)
    case .refused:
      let now = backplane.now
      let since = silentSince.withLock { since in
        defer { since[process.kernel] = since[process.kernel] ?? now }
        return since[process.kernel] ?? now
      }
      // The first answer to fail has itself taken the time that makes a peer silent.
      if now - since + .seconds(2) >= Self.silenceMax { told(process, .silent) }
    }
  }
}
