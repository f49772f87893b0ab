import Glibc
import Synchronization
import Testing
import VLoop
import VProtocol

@Suite("Threads for work that may block")
struct WorkThreadsTests {
  /// One count that threads wait for.
  private final class Gate: Sendable {
    private let monitor = Monitor()
    private let isOpen = Atomic(false)

    func open() {
      monitor.enter {
        isOpen.store(true, ordering: .relaxed)
        monitor.signalAll()
      }
    }

    func wait() {
      monitor.enter { while !isOpen.load(ordering: .relaxed) { monitor.wait() } }
    }
  }

  private final class Served: Sendable {
    let numbers = Mutex<[Int]>([])
    func note(_ number: Int) { numbers.withLock { $0.append(number) } }
  }

  @Test("while all threads are busy, work queues by priority")
  func order() {
    let threads = WorkThreads(name: "test", threadsMax: 1)
    let (started, freed, done) = (Gate(), Gate(), Gate())
    let served = Served()
    threads.add {
      started.open()
      freed.wait()
    }
    started.wait()
    for number in 0..<5 { threads.add(.guest) { served.note(number) } }
    threads.add { served.note(5) }
    threads.add(.urgent) { served.note(6) }
    threads.add(.guest) { done.open() }
    freed.open()
    done.wait()
    threads.end()
    #expect(served.numbers.withLock { $0 } == [6, 5, 0, 1, 2, 3, 4])
  }

  @Test("the background never has all threads")
  func reserve() {
    let threads = WorkThreads(name: "test", threadsMax: 4)
    let (freed, done) = (Gate(), Gate())
    let started = (0..<3).map { _ in Gate() }
    let served = Served()
    for number in 0..<6 {
      threads.add(.background) {
        if number < 3 { started[number].open() }
        freed.wait()
        served.note(number)
      }
    }
    for gate in started { gate.wait() }
    threads.add {
      served.note(-1)
      done.open()
    }
    done.wait()
    #expect(served.numbers.withLock { $0 } == [-1])
    freed.open()
    threads.end()
  }
}
