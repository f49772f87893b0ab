import CVLinux
import Glibc

/// A few plain threads for work that may block; none exist before there is work.
///
/// `@unchecked Sendable`: everything is guarded by `mutex`.
@safe final class WorkThreads: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var queue: [@Sendable () -> Void] = []
  private var next = 0
  private var threads = 0
  private var idle = 0
  private var isEnded = false

  /// As many operations as a disk can usefully have queued.
  private static let threadsMax = 8

  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    // The last thread held the last reference: nobody waits.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  func add(_ work: @escaping @Sendable () -> Void) {
    unsafe pthread_mutex_lock(mutex)
    queue.append(work)
    let startsThread = idle < queue.count - next && threads < Self.threadsMax
    if startsThread { threads += 1 }
    unsafe pthread_cond_signal(condition)
    unsafe pthread_mutex_unlock(mutex)
    if startsThread { Thread.start(name: "v-work") { [self] in run() } }
  }

  /// The threads end when the work that is queued is done.
  func end() {
    unsafe pthread_mutex_lock(mutex)
    isEnded = true
    unsafe pthread_cond_broadcast(condition)
    unsafe pthread_mutex_unlock(mutex)
  }

  private func run() {
    while let work = take() { work() }
  }

  private func take() -> (@Sendable () -> Void)? {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while next == queue.count {
      if isEnded { return nil }
      idle += 1
      unsafe pthread_cond_wait(condition, mutex)
      idle -= 1
    }
    let work = queue[next]
    next += 1
    if next == queue.count {
      queue.removeAll(keepingCapacity: true)
      next = 0
    }
    return work
  }
}

/// A plain thread of the process.
enum Thread {
  static func start(name: String, _ body: @escaping @Sendable () -> Void) {
    final class Box {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(Box(body)).toOpaque()
    let result = unsafe pthread_create(
      &thread, nil,
      { argument in
        unsafe Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, box)
    precondition(result == 0, "a thread can be made")
    _ = unsafe v_thread_name(thread, name)
    pthread_detach(thread)
  }
}
