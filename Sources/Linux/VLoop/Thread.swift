import CVLinux
import Glibc

/// A plain thread of the process.
package enum Thread {
  /// Starts a thread that runs `body` and ends with it; of `name` Linux keeps 15 octets.
  package static func start(name: String, _ body: @escaping @Sendable () -> Void) {
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
