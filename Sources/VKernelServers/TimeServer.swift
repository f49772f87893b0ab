import Synchronization
public import VProtocol
public import VRuntime

/// The time server: tells the time, lets a process wait, and ends another one's wait.
///
/// A delay is a request that is answered late: no thread waits. It is dropped when its process
/// starts another one, or is found dead, or no longer waiting.
public final class TimeServer: Sendable {
  private struct Delay: Sendable {
    var request: Request
    var until: Time
  }

  private struct State: Sendable {
    var delays: [EntityID: Delay] = [:]
    /// The earliest time that a timer is set for.
    var armed: Time?
  }

  /// What V's kernels had as many of as processes; beyond it a delay is refused with BUSY.
  private static let delaysMax = 4096
  /// A timer cannot be taken back, so none is set for later than this.
  private static let timerMax = TimeSpan.seconds(60)

  private let backplane: any Backplane
  private let state = Mutex(State())
  private let cell = Cell()

  /// Joins the time group.
  public init(_ backplane: any Backplane) {
    self.backplane = backplane
    let server = backplane.makeServer(knowsPrincipals: true) { [cell] in cell.server?.serve($0) }
    cell.watch.withLock { watch in
      watch = LifeWatch(backplane, of: { [weak self] in self?.delayed ?? [] }) {
        [weak self] process, state in self?.judge(process, state)
      }
    }
    cell.reference.withLock { $0.server = self }
    backplane.join(server, group: .timeGroup)
  }

  /// Leads the procedure, which exists first, to its server.
  private final class Cell: Sendable {
    struct Weak: Sendable { weak var server: TimeServer? }
    let reference = Mutex(Weak())
    let watch = Mutex<LifeWatch?>(nil)
    var server: TimeServer? { reference.withLock { $0.server } }
  }

  /// Processes whose delay is under way.
  public var delayed: Set<EntityID> { state.withLock { Set($0.delays.keys) } }

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
      // The newest counts: whoever asks again no longer waits for the first answer.
      guard state.delays.count < Self.delaysMax || state.delays[request.client] != nil else {
        return false
      }
      state.delays[request.client] = Delay(request: request, until: now + span)
      return true
    }
    guard hasRoom else { return backplane.refuse(.busy, request) }
    cell.watch.withLock { $0 }?.watchLater()
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
      for process in ended.keys { state.delays[process] = nil }
      return ended
    }
    for delay in ended.values {
      backplane.reply(Nanoseconds(0), to: delay.request)
    }
    arm()
  }

  /// Whoever is the process's user, or root of this host or of the process's, may end its delay.
  private func wakeUp(_ process: EntityID, _ request: Request) {
    let now = backplane.now
    enum Outcome {
      case woken(Delay)
      case refused(ReplyCode)
    }
    let outcome: Outcome = state.withLock { state in
      guard let delay = state.delays[process] else { return .refused(.noProcess) }
      let owner = delay.request.principal
      let mayWake =
        request.principal == owner
        || request.principal?.user == "root"
          && [backplane.host, owner?.host].contains(request.principal?.host)
      guard mayWake else { return .refused(.noPermission) }
      state.delays[process] = nil
      return .woken(delay)
    }
    switch outcome {
    case .refused(let code): backplane.refuse(code, request)
    case .woken(let delay):
      backplane.reply(Nanoseconds(max(1, (delay.until - now).nanoseconds)), to: delay.request)
      backplane.reply(Done(), to: request)
    }
  }

  /// Drops the delay of a process that is dead or does not wait for it any more.
  private func judge(_ process: EntityID, _ alive: ProbeEntity.EntityState?) {
    state.withLock { state in
      guard let delay = state.delays[process] else { return }
      let isWaiting =
        alive?.isAwaitingResponse == true && alive?.transaction == delay.request.transaction
      if !isWaiting { state.delays[process] = nil }
    }
  }
}
