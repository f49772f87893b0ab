import Glibc
import Synchronization

/// Threads that end with the process.
enum Background {
  private final class Body {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }

  static func run(_ body: @escaping @Sendable () -> Void) { pthread_detach(start(body)) }

  /// Starts a thread that must be joined.
  static func start(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Body(body)).toOpaque()
    pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, context)
    return thread
  }

  /// The result of `body`, or nil if it does not return in time; then its thread goes on.
  static func wait<Value: Sendable>(
    seconds: Double, _ body: @escaping @Sendable () -> Value
  ) -> Value? {
    let result = Result<Value>()
    run { result.value.withLock { $0 = body() } }
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end {
      if let value = result.value.withLockIfAvailable({ $0 }), let value { return value }
      usleep(1000)
    }
    return nil
  }

  private final class Result<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
  }
}
