import CVLinux
import Glibc

/// A lock with one condition that threads wait for: Hoare's monitor.
///
/// `@unchecked Sendable`: both pointers are set once; the objects behind them are made for many
/// threads.
@safe package final class Monitor: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  package init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    // So time limits do not change when the clock is set.
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    // A waiting thread has a reference, so none waits now.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Runs `body` under the lock.
  package func enter<Result>(_ body: () -> Result) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }

  /// Leaves the monitor until it is signalled; only inside `enter`.
  ///
  /// It may return without a reason: the condition must be checked again.
  package func wait() { unsafe pthread_cond_wait(condition, mutex) }

  /// The same, for `nanoseconds` at most, less than a second.
  package func wait(atMost nanoseconds: Int) {
    var end = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &end)
    end.tv_nsec += nanoseconds
    end.tv_sec += end.tv_nsec / 1_000_000_000
    end.tv_nsec %= 1_000_000_000
    unsafe pthread_cond_timedwait(condition, mutex, &end)
  }

  /// Wakes one thread that waits.
  package func signal() { unsafe pthread_cond_signal(condition) }

  /// Wakes all threads that wait.
  package func signalAll() { unsafe pthread_cond_broadcast(condition) }
}
