import Glibc
import VKernel
import VTransport

/// What one thread needs to leave the kernel with: its queue of actions and its buffers.
@safe final class ThreadContext {
  /// One thread's, and never entered while it is being entered: no check at every access.
  @exclusivity(unchecked) var step = Step()
  /// This thread is performing actions further up its stack.
  @exclusivity(unchecked) var isPerforming = false
  let ciphers = Ciphers()
  /// Room for one packet group.
  let packets: UnsafeMutableRawBufferPointer

  init() {
    unsafe packets = .allocate(
      byteCount: Transmission.packetBytesMax * Transmission.packetsMax, alignment: 64)
  }

  deinit { unsafe packets.deallocate() }
}

/// A `ThreadContext` for every thread that enters a node; made at its first entry.
///
/// `@unchecked Sendable`: the key is set once; contexts are reached only from their own thread.
final class ThreadContexts: @unchecked Sendable {
  private var key = pthread_key_t()

  init() {
    let result = unsafe pthread_key_create(&key) { context in
      if let context = unsafe context {
        unsafe Unmanaged<ThreadContext>.fromOpaque(context).release()
      }
    }
    precondition(result == 0, "a thread-specific key")
  }

  deinit {
    // Contexts of threads that still run stay with them: their number is bounded by the pool.
    pthread_key_delete(key)
  }

  var current: ThreadContext {
    if let known = unsafe pthread_getspecific(key) {
      return unsafe Unmanaged<ThreadContext>.fromOpaque(known).takeUnretainedValue()
    }
    let context = ThreadContext()
    unsafe pthread_setspecific(key, Unmanaged.passRetained(context).toOpaque())
    return context
  }
}
