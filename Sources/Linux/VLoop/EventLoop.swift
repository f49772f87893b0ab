import CVLinux
import Glibc
import Synchronization

/// One epoll set and one timer, shared by the threads that wait for them.
///
/// Whichever thread is woken does the whole work of an event where it is. Times are nanoseconds of
/// Linux's boot clock, which runs while the machine is suspended.
///
/// `@unchecked Sendable`: `state` is touched only inside `monitor`, everything else is constant.
package final class EventLoop: @unchecked Sendable {
  private struct Watcher {
    var handle: @Sendable () -> Void
    var handleErrors: (@Sendable () -> Void)?
  }

  private struct State {
    var watchers: [Int32: Watcher] = [:]
    var timers = LoopTimers()
    /// When the loop's owner wants to be called.
    var deadline: Int64?
    var armed: Int64?
  }

  private let epoll: Int32
  private let timer: Int32
  private let monitor = Monitor()
  private var state = State()
  private let waiting = Atomic(0)
  private let isEnded = Atomic(false)

  /// The loop that a thread belongs to: one key for all loops of the process, which has few.
  private static let owner: pthread_key_t = {
    var key = pthread_key_t()
    let error = unsafe pthread_key_create(&key, nil)
    precondition(error == 0, "no thread-specific key is left for event loops")
    return key
  }()

  /// Nil where the process has no more descriptors.
  package init?() {
    epoll = v_epoll_create()
    timer = v_timer_create()
    guard epoll >= 0, timer >= 0, v_epoll_add(epoll, timer) == 0 else { return nil }
  }

  deinit {
    if epoll >= 0 { close(epoll) }
    if timer >= 0 { close(timer) }
  }

  // MARK: threads

  /// Starts threads that wait for events; each calls `afterEach` after every event.
  ///
  /// `handleDeadline` is called when the time of `wake` has come.
  package func start(
    threads: Int, name: String, handleDeadline: @escaping @Sendable () -> Void = {},
    afterEach: @escaping @Sendable () -> Void = {}
  ) {
    for index in 0..<threads {
      Thread.start(name: threads == 1 ? name : "\(name)-\(index)") { [self] in
        _ = unsafe pthread_setspecific(Self.owner, address)
        while !isEnded.load(ordering: .relaxed) {
          waiting.add(1, ordering: .relaxed)
          let event = v_epoll_wait(epoll, -1)
          let descriptor = event & ~Int32(V_EVENT_ERROR)
          waiting.subtract(1, ordering: .relaxed)
          guard event >= 0 else { continue }
          if descriptor == timer {
            handleTimer(handleDeadline)
          } else if let watcher = monitor.enter({ state.watchers[descriptor] }) {
            if event != descriptor { watcher.handleErrors?() }
            watcher.handle()
          }
          afterEach()
        }
        clear()
      }
    }
  }

  /// Whether the caller is one of the loop's threads.
  package var isCurrent: Bool { unsafe pthread_getspecific(Self.owner) == address }

  private var address: UnsafeMutableRawPointer {
    unsafe Unmanaged.passUnretained(self).toOpaque()
  }

  /// Whether a thread of the loop waits for an event at this moment.
  package var hasIdleThread: Bool { waiting.load(ordering: .relaxed) > 0 }

  /// Ends the one thread of the loop after the event at hand.
  package func end() {
    isEnded.store(true, ordering: .relaxed)
    after(nanoseconds: 0) {}
  }

  /// Handlers and timers may refer to the loop's owner, so they are dropped.
  private func clear() {
    let old = monitor.enter {
      defer { state = State() }
      return state
    }
    // It goes outside of the lock.
    _ = old
  }

  // MARK: descriptors

  /// Calls `handler` whenever `descriptor` becomes readable: read until EAGAIN.
  ///
  /// If it has errors to tell, `errors` is called before.
  package func watch(
    _ descriptor: Int32, _ handler: @escaping @Sendable () -> Void,
    errors: (@Sendable () -> Void)? = nil
  ) {
    monitor.enter { state.watchers[descriptor] = Watcher(handle: handler, handleErrors: errors) }
    _ = v_epoll_add(epoll, descriptor)
  }

  /// There is more to read at a descriptor: another thread, or this one later, is to go on.
  package func watchAgain(_ descriptor: Int32) { _ = v_epoll_again(epoll, descriptor) }

  package func unwatch(_ descriptor: Int32) {
    _ = v_epoll_remove(epoll, descriptor)
    monitor.enter { state.watchers[descriptor] = nil }
  }

  // MARK: times

  package static var now: Int64 { nanoseconds(of: CLOCK_BOOTTIME) }
  /// Since 1970.
  package static var wallClock: Int64 { nanoseconds(of: CLOCK_REALTIME) }

  private static func nanoseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Calls `body` once, not before so many nanoseconds have passed.
  package func after(nanoseconds: Int64, _ body: @escaping @Sendable () -> Void) {
    let time = Self.now + nanoseconds
    rearm { $0.timers.add(body, at: time) }
  }

  /// Calls the loop's owner at a time, or earlier.
  package func wake(at time: Int64) {
    rearm { state in state.deadline = min(state.deadline ?? time, time) }
  }

  private func handleTimer(_ handleDeadline: () -> Void) {
    var expirations: UInt64 = 0
    _ = unsafe read(timer, &expirations, 8)
    let now = Self.now
    let (due, isDeadlineDue) = monitor.enter {
      state.armed = nil
      let due = state.timers.takeDue(at: now)
      guard let deadline = state.deadline, deadline <= now else { return (due, false) }
      state.deadline = nil
      return (due, true)
    }
    // First: what is due may take long, and the timer of the others must not wait for that.
    rearm { _ in }
    if isDeadlineDue { handleDeadline() }
    for body in due { body() }
  }

  /// Sets the timer for the earliest of all times after `change`.
  private func rearm(_ change: (inout State) -> Void) {
    monitor.enter {
      change(&state)
      var first = state.timers.first
      if let deadline = state.deadline { first = min(first ?? deadline, deadline) }
      guard let first else { return }
      if let armed = state.armed, armed <= first { return }
      state.armed = first
      // In the lock: else a later time, set by a slower thread, could overwrite this one.
      _ = v_timer_set(timer, first)
    }
  }
}

/// The loop's timers, in order of time.
///
/// A sorted array: whoever waits has a share of his manager's waits, so there are some thousands at
/// most, and equal times keep their order.
private struct LoopTimers {
  /// The latest first: most are among the last.
  private var queue: [(time: Int64, body: @Sendable () -> Void)] = []

  var first: Int64? { queue.last?.time }

  /// Equal times are called in the order in which they came.
  mutating func add(_ body: @escaping @Sendable () -> Void, at time: Int64) {
    var (low, high) = (0, queue.count)
    while low < high {
      let middle = (low + high) / 2
      if queue[middle].time > time { low = middle + 1 } else { high = middle }
    }
    queue.insert((time, body), at: low)
  }

  mutating func takeDue(at now: Int64) -> [@Sendable () -> Void] {
    var due: [@Sendable () -> Void] = []
    while let last = queue.last, last.time <= now {
      queue.removeLast()
      due.append(last.body)
    }
    return due
  }
}
