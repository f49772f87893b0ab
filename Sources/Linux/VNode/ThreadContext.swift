import Glibc
import Synchronization
import VKernel
import VTransport

/// What one thread needs to leave the kernel: its queue of actions and its buffers.
@safe final class ThreadContext {
  /// Used by one thread, and never by two accesses at once: no check at every access.
  @exclusivity(unchecked) var step = Step()
  /// Whether this thread is performing actions further up its stack.
  @exclusivity(unchecked) var isPerforming = false
  let ciphers = Ciphers()
  /// What arrives from the network together; a thread that reads it lives as long as the process.
  private(set) lazy var received = UnsafeMutableRawBufferPointer.allocate(
    byteCount: Sockets.receiveBytes, alignment: 4096)
  /// Room for one packet group.
  let packets: UnsafeMutableRawBufferPointer

  init() {
    unsafe packets = .allocate(
      byteCount: Transmission.packetBytesMax * Transmission.packetsMax, alignment: 64)
  }

  deinit { unsafe packets.deallocate() }
}

/// The `ThreadContext` of every thread that enters a node; made at its first entry.
///
/// A process has 1,024 thread-specific keys and a simulation has more nodes, so all nodes share one
/// key, for a table of the thread's contexts.
final class ThreadContexts: Sendable {
  /// The contexts of one thread; those of nodes that have ended are dropped when there are many.
  @safe private final class Table {
    private struct Entry {
      weak var owner: ThreadContexts?
      let context: ThreadContext
    }

    /// The context used last: in a node's own process there is no other.
    private var last: (number: Int, context: ThreadContext)?
    private var entries: [Int: Entry] = [:]
    private var entriesMax = Table.entriesMin
    private static let entriesMin = 64

    func context(of owner: ThreadContexts) -> ThreadContext {
      if let last, last.number == owner.number { return last.context }
      if let known = entries[owner.number] { return use(known.context, of: owner) }
      if entries.count >= entriesMax {
        entries = entries.filter { $0.value.owner != nil }
        entriesMax = max(Self.entriesMin, entries.count * 2)
      }
      let context = ThreadContext()
      entries[owner.number] = Entry(owner: owner, context: context)
      return use(context, of: owner)
    }

    private func use(_ context: ThreadContext, of owner: ThreadContexts) -> ThreadContext {
      last = (owner.number, context)
      return context
    }
  }

  private static let lastNumber = Atomic(0)
  private let number = lastNumber.wrappingAdd(1, ordering: .relaxed).newValue

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    let result = unsafe pthread_key_create(&key) { table in
      if let table = unsafe table { unsafe Unmanaged<Table>.fromOpaque(table).release() }
    }
    precondition(result == 0, "a thread-specific key")
    return key
  }()

  var current: ThreadContext {
    if let known = unsafe pthread_getspecific(Self.key) {
      return unsafe Unmanaged<Table>.fromOpaque(known).takeUnretainedValue().context(of: self)
    }
    let table = Table()
    unsafe pthread_setspecific(Self.key, Unmanaged.passRetained(table).toOpaque())
    return table.context(of: self)
  }
}
