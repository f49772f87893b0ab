import Synchronization
import VLoop

/// Threads that look into processes: a page of their memory may be one of a file whose server
/// hangs, or the program itself is such a file, and that must hang nobody but who asked.
///
/// So each user has one look at a time, and none of them is on a thread for the disk.
final class MemoryReaders: Sendable {
  private let threads = WorkThreads(name: "v-memory", threadsMax: threadsMax)
  /// By user: what is to be done after what is done now.
  private let queues = Mutex<[String: [@Sendable () -> Void]]>([:])

  /// So many users may have looks that hang before others notice.
  private static let threadsMax = 4
  /// Looks of one user that wait for each other: more than a debugger has under way.
  private static let waitingMax = 64

  deinit { threads.end() }

  /// Does `work` for a user, after what was to be done before; false if too much is.
  func add(for user: String, _ work: @escaping @Sendable () -> Void) -> Bool {
    let (isTaken, isFirst) = queues.withLock { queues in
      guard let waiting = queues[user]?.count else {
        queues[user] = []
        return (true, true)
      }
      guard waiting < Self.waitingMax else { return (false, false) }
      queues[user]?.append(work)
      return (true, false)
    }
    if isFirst { run(work, for: user) }
    return isTaken
  }

  private func run(_ work: @escaping @Sendable () -> Void, for user: String) {
    threads.add { [self] in
      work()
      let next = queues.withLock { queues -> (@Sendable () -> Void)? in
        guard queues[user]?.isEmpty == false else {
          queues[user] = nil
          return nil
        }
        return queues[user]?.removeFirst()
      }
      if let next { run(next, for: user) }
    }
  }
}
