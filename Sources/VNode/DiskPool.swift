import CVLinux
import Glibc

/// A few plain threads for work that may block on a disk.
///
/// `@unchecked Sendable`: the queue and the waiting threads are guarded by `mutex`.
@safe final class DiskPool: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var queue: [@Sendable () -> Void] = []
  private var next = 0

  /// As many operations as a disk can usefully have queued.
  static let threads = 8

  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
    for index in 0..<Self.threads {
      Thread.start(name: "v-disk-\(index)") { [self] in run() }
    }
  }

  func add(_ work: @escaping @Sendable () -> Void) {
    unsafe pthread_mutex_lock(mutex)
    queue.append(work)
    unsafe pthread_mutex_unlock(mutex)
    unsafe pthread_cond_signal(condition)
  }

  private func run() {
    while true {
      unsafe pthread_mutex_lock(mutex)
      while next == queue.count { unsafe pthread_cond_wait(condition, mutex) }
      let work = queue[next]
      next += 1
      if next == queue.count {
        queue.removeAll(keepingCapacity: true)
        next = 0
      } else if next >= 64 && next * 2 >= queue.count {
        // A pool that is never idle would keep all that it ever did.
        queue.removeFirst(next)
        next = 0
      }
      unsafe pthread_mutex_unlock(mutex)
      work()
    }
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
