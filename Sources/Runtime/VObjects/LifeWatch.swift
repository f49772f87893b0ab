import Synchronization
public import VProtocol
public import VRuntime

/// Asks regularly whether the processes live that something is kept for: in V, a process that dies
/// sends no message.
///
/// A process is given up when its kernel answers that it has ended, or has been silent for long. No
/// questions are sent while there are no processes to ask about.
public final class LifeWatch: Sendable {
  private let backplane: any Backplane
  private let clients: ClientPool
  private let processes: @Sendable () -> Set<EntityID>
  private let told: @Sendable (EntityID, Life) -> Void
  private let isDue = Atomic(false)
  /// Since when the kernel of a process has not answered.
  private let silentSince = Mutex<[KernelID: Time]>([:])

  /// The state of a dead process is freed within 5 s of its death.
  private static let interval = TimeSpan.seconds(4)
  /// The state for a silent host is kept this long: it may be cut off only for a moment.
  private static let silenceMax = TimeSpan.seconds(10)

  /// What is known of a process.
  public enum Life: Sendable {
    case alive(ProbeEntity.EntityState)
    case dead
    /// Its kernel has been silent for so long that it is given up; it may live.
    case silent

    /// The answer of its kernel; nil if it is given up.
    public var state: ProbeEntity.EntityState? {
      if case .alive(let state) = self { state } else { nil }
    }
  }

  /// `told` is called with the state of each of `processes`.
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
        ProbeEntity(process), as: "root", to: .manager(of: backplane.kernel(of: process)),
        at: .kernelManager
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
      // The first question that failed took itself the time after which a peer is silent.
      if now - since + .seconds(2) >= Self.silenceMax { told(process, .silent) }
    }
  }
}
