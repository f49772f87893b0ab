package import VProtocol

/// A few plain threads for work that may block, on a disk or on another machine; they are started
/// when there is work.
///
/// `@unchecked Sendable`: everything is used only inside `monitor`.
package final class WorkThreads: @unchecked Sendable {
  private let monitor = Monitor()
  private struct Work: Sendable {
    let priority: Priority
    let body: @Sendable () -> Void
    var isBackground: Bool { priority <= .background }
  }

  private var queue = PriorityQueue<Work>()
  /// Threads that do work of the background.
  private var inBackground = 0
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

  /// Runs `work` on one of the threads, as soon as one is free for it.
  package func add(_ priority: Priority = .normal, _ work: @escaping @Sendable () -> Void) {
    let startsThread = monitor.enter {
      queue.add(Work(priority: priority, body: work), priority)
      monitor.signal()
      guard idle < queue.count && threads < threadsMax else { return false }
      threads += 1
      return true
    }
    if startsThread {
      Thread.start(name: name) { [self] in
        var isBackground = false
        while let work = take(afterBackground: isBackground) {
          work.body()
          isBackground = work.isBackground
        }
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

  /// One thread in four is kept for what is more urgent than the background: work that has begun
  /// cannot be interrupted.
  private var backgroundMax: Int { threadsMax - threadsMax / 4 }
  /// The lowest priority above the background.
  private static let foreground = Priority(bits: Priority.normal.bits | 3)

  private func take(afterBackground wasBackground: Bool) -> Work? {
    monitor.enter {
      if wasBackground { inBackground -= 1 }
      while true {
        let isFree = inBackground < backgroundMax
        if let work = queue.next(atLeast: isFree ? .guest : Self.foreground) {
          if work.isBackground { inBackground += 1 }
          return work
        }
        if isEnded { return nil }
        idle += 1
        monitor.wait()
        idle -= 1
      }
    }
  }
}
