import Synchronization
import VObjects
package import VProtocol
public import VRuntime

/// The time server: tells the time, delays a process, and ends another one's delay.
///
/// A delay is a request that is answered late: no thread waits. It is dropped when its process
/// starts another one, has died, or no longer waits.
public final class TimeServer: Sendable {
  private struct Delay: Sendable {
    var request: Request
    var until: Time
  }

  private struct State: Sendable {
    var delays: [EntityID: Delay] = [:]
    var shares: Shares
    /// The earliest time that a timer is set for.
    var armed: Time?

    mutating func remove(_ process: EntityID) -> Delay? {
      guard let delay = delays.removeValue(forKey: process) else { return nil }
      shares.give(delay.request.principal)
      return delay
    }
  }

  /// As many as V's kernels had processes; a principal beyond its share is answered BUSY.
  private static let delaysMax = 4096
  /// A timer cannot be cancelled, so none is set for later than this.
  private static let timerMax = TimeSpan.seconds(60)

  private let backplane: any Backplane
  private let state: Mutex<State>
  private let watch: LifeWatch

  /// Joins the time group.
  public init(_ backplane: any Backplane) {
    self.backplane = backplane
    state = Mutex(State(shares: Shares(capacity: Self.delaysMax, ownHost: backplane.host)))
    let own = LateBound<TimeServer>()
    watch = LifeWatch(backplane, of: { own.object?.delayed ?? [] }) {
      own.object?.judge($0, $1.state)
    }
    let server = backplane.makeServer(knowsPrincipals: true) { own.object?.serve($0) }
    own.bind(self)
    backplane.join(server, group: .timeGroup)
  }

  /// Processes whose delay is under way.
  package var delayed: Set<EntityID> { state.withLock { Set($0.delays.keys) } }

  private func serve(_ request: Request) {
    switch request.message.mcb.code {
    case GetTime.code:
      backplane.reply(Nanoseconds(backplane.wallClock), to: request)
    case DelayProcess.code:
      backplane.serve(DelayProcess.self, request) { delay($0.span, request) }
    case WakeUp.code:
      backplane.serve(WakeUp.self, request) { wakeUp($0.process, request) }
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  private func delay(_ span: TimeSpan, _ request: Request) {
    let now = backplane.now
    let hasRoom = state.withLock { state in
      // The newest one holds: a client that asks again no longer waits for the first answer.
      _ = state.remove(request.client)
      guard state.shares.take(request.principal) else { return false }
      state.delays[request.client] = Delay(request: request, until: now + span)
      return true
    }
    guard hasRoom else { return backplane.refuse(.busy, request) }
    watch.watchLater()
    arm()
  }

  /// Sets a timer for the first delay that ends, unless one is set.
  private func arm() {
    let now = backplane.now
    let time: Time? = state.withLock { state in
      guard let first = state.delays.values.map(\.until).min() else { return nil }
      let time = min(max(first, now), now + Self.timerMax)
      if let armed = state.armed, armed <= time { return nil }
      state.armed = time
      return time
    }
    guard let time else { return }
    backplane.after(time - now) { [weak self] in self?.handleTimer(of: time) }
  }

  private func handleTimer(of time: Time) {
    let now = backplane.now
    let ended = state.withLock { state in
      if state.armed == time { state.armed = nil }
      let ended = state.delays.filter { $0.value.until <= now }
      for process in ended.keys { _ = state.remove(process) }
      return ended
    }
    for delay in ended.values {
      backplane.reply(Nanoseconds(0), to: delay.request)
    }
    arm()
  }

  /// The principal of a process may end its delay, and so may root with all rights of this host or
  /// of the process's own.
  private func wakeUp(_ process: EntityID, _ request: Request) {
    let now = backplane.now
    enum Outcome {
      case woken(Delay)
      case refused(ReplyCode)
    }
    let outcome: Outcome = state.withLock { state in
      guard let delay = state.delays[process] else { return .refused(.noProcess) }
      let mayWake =
        Caller(request, at: backplane.host).isRoot
        || Self.mayWake(request.principal, delayOf: delay.request.principal)
      guard mayWake else { return .refused(.noPermission) }
      _ = state.remove(process)
      return .woken(delay)
    }
    switch outcome {
    case .refused(let code): backplane.refuse(code, request)
    case .woken(let delay):
      backplane.reply(Nanoseconds(max(1, (delay.until - now).nanoseconds)), to: delay.request)
      backplane.reply(Done(), to: request)
    }
  }

  private static func mayWake(_ asker: Principal?, delayOf owner: Principal?) -> Bool {
    guard let asker, let owner else { return false }
    return asker == owner || asker.isFullRoot && asker.host == owner.host
  }

  /// Drops the delay of a process that has died or does not wait for it any more.
  private func judge(_ process: EntityID, _ alive: ProbeEntity.EntityState?) {
    state.withLock { state in
      guard let delay = state.delays[process] else { return }
      let isWaiting =
        alive?.isAwaitingResponse == true && alive?.transaction == delay.request.transaction
      if !isWaiting { _ = state.remove(process) }
    }
  }
}
