/// A few plain threads for work that may block, on a disk or on another machine; they are started
/// when there is work.
///
/// `@unchecked Sendable`: everything is used only inside `monitor`.
package final class WorkThreads: @unchecked Sendable {
  private let monitor = Monitor()
  private var queue: [@Sendable () -> Void] = []
  private var next = 0
  private var threads = 0
  private var idle = 0
  private var isEnded = false

  private let name: String
  private let threadsMax: Int

  /// As many operations as a disk can usefully have queued.
  package static let diskThreadsMax = 8

  package init(name: String = "v-disk", threadsMax: Int = diskThreadsMax) {
    self.name = name
    self.threadsMax = threadsMax
  }

  /// Runs `work` on one of the threads, in the order of the calls as far as threads are free.
  package func add(_ work: @escaping @Sendable () -> Void) {
    let startsThread = monitor.enter {
      queue.append(work)
      monitor.signal()
      guard idle < queue.count - next && threads < threadsMax else { return false }
      threads += 1
      return true
    }
    if startsThread {
      Thread.start(name: name) { [self] in
        while let work = take() { work() }
      }
    }
  }

  /// Ends the threads when the queued work is done.
  package func end() {
    monitor.enter {
      isEnded = true
      monitor.signalAll()
    }
  }

  private func take() -> (@Sendable () -> Void)? {
    monitor.enter {
      while next == queue.count {
        if isEnded { return nil }
        idle += 1
        monitor.wait()
        idle -= 1
      }
      let work = queue[next]
      next += 1
      // Threads that are never idle would otherwise keep all finished work.
      if next == queue.count || next >= 64 && next * 2 >= queue.count {
        queue.removeFirst(next)
        next = 0
      }
      return work
    }
  }
}
