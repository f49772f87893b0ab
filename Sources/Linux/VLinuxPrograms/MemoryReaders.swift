import Synchronization
import VLoop

/// Threads that read processes' memory: a page may belong to a file whose server hangs, and then
/// only the reader may hang.
///
/// So each user has one read at a time, and none runs on a thread for the disk.
final class MemoryReaders: Sendable {
  private let threads = WorkThreads(name: "v-memory", threadsMax: threadsMax)
  /// By user: the reads that wait for the present one.
  private let queues = Mutex<[String: [@Sendable () -> Void]]>([:])

  /// How many users may have reads that hang before others are affected.
  private static let threadsMax = 4
  /// Waiting reads of one user: more than a debugger has under way.
  private static let waitingMax = 64

  deinit { threads.end() }

  /// Runs `work` for a user, after the user's earlier reads; false if too many wait.
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
