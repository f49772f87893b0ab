import CVLinux
import Glibc
import Synchronization
import VLoop
import VProtocol

/// The one thread of an attached process that watches descriptors and keeps timers.
final class AttachLoop: Sendable {
  private struct State: Sendable {
    var watchers: [Int32: @Sendable () -> Void] = [:]
    /// In order of time, then of their start.
    var timers: [(time: Time, body: @Sendable () -> Void)] = []
    var isEnded = false
  }

  private let epoll: Int32
  private let timer: Int32
  private let state = Mutex(State())
  private let thread = Atomic<UInt>(0)

  init() throws(AttachError) {
    epoll = v_epoll_create()
    timer = v_timer_create()
    guard epoll >= 0, timer >= 0 else {
      throw AttachError(description: "cannot make an event loop: out of descriptors")
    }
    _ = v_epoll_add(epoll, timer)
  }

  deinit {
    if epoll >= 0 { close(epoll) }
    if timer >= 0 { close(timer) }
  }

  /// Whether the caller is on the loop's thread.
  var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

  /// Starts the thread; `afterEach` is called on it after every event.
  func run(afterEach: @escaping @Sendable () -> Void) {
    Thread.start(name: "v-attach") { [self] in
      thread.store(UInt(pthread_self()), ordering: .relaxed)
      while !state.withLock({ $0.isEnded }) {
        let descriptor = v_epoll_wait(epoll, -1)
        guard descriptor >= 0 else { continue }
        if descriptor == timer { handleTimer() }
        state.withLock { $0.watchers[descriptor] }?()
        afterEach()
      }
      state.withLock {
        $0.watchers = [:]
        $0.timers = []
      }
    }
  }

  /// Ends the thread after the present event.
  func end() {
    state.withLock { $0.isEnded = true }
    after(TimeSpan(nanoseconds: 0)) {}
  }

  var now: Time { Time(nanoseconds: Self.nanoseconds(of: CLOCK_MONOTONIC)) }

  /// A clock of this machine, in nanoseconds.
  static func nanoseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    state.withLock { $0.watchers[descriptor] = handler }
    _ = v_epoll_add(epoll, descriptor)
  }

  func unwatch(_ descriptor: Int32) {
    _ = v_epoll_remove(epoll, descriptor)
    state.withLock { $0.watchers[descriptor] = nil }
  }

  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    let time = now + span
    state.withLock { state in
      let index = state.timers.lastIndex { $0.time <= time }.map { $0 + 1 } ?? 0
      state.timers.insert((time, body), at: index)
      if index == 0 { _ = v_timer_set(timer, time.nanoseconds) }
    }
  }

  private func handleTimer() {
    var expirations: UInt64 = 0
    _ = unsafe read(timer, &expirations, 8)
    let now = now
    let due = state.withLock { state in
      let count = state.timers.firstIndex { now < $0.time } ?? state.timers.count
      let due = state.timers.prefix(count).map(\.body)
      state.timers.removeFirst(count)
      if let next = state.timers.first { _ = v_timer_set(timer, next.time.nanoseconds) }
      return due
    }
    for body in due { body() }
  }
}
