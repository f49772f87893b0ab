import CVLinux
import Synchronization
import VLoop
import VProtocol
public import VStore

/// The user table of this host: the name service switch.
///
/// The switch is called on two threads of its own, so that a call that hangs keeps no thread of the
/// loop or of the disk. Answers are remembered as in `UserMemory`; /etc/passwd and /etc/group are
/// checked for a change once a second.
public final class LinuxUsers: UserTable {
  private struct Changes {
    var checkedAt: Int64 = 0
    var stamps: [Int64] = []
  }

  private let source: any UserSource
  private let threads = WorkThreads(name: "v-users", threadsMax: threadsMax)
  private let memory = Mutex(UserMemory())
  private let changes = Mutex(Changes())
  /// Threads of callers that wait here.
  private let waiting = Atomic(0)

  /// Two, so that there is one for a second question while the first one hangs.
  private static let threadsMax = 2
  /// Threads that may wait here at a time, so that most threads of the disk never do.
  private static let waitingMax = 2
  /// As long as a disk takes: a table in files, or a daemon of this host, answers in this time.
  private static let patienceNanoseconds = 20_000_000
  private static let checkNanoseconds: Int64 = 1_000_000_000

  public convenience init() { self.init(NameService()) }

  package init(_ source: any UserSource) { self.source = source }

  deinit { threads.end() }

  public func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials? {
    try account(ofUser: name, patience)?.credentials
  }

  public func account(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> UserAccount? {
    guard case .user(let account) = try answer(to: .user(name), patience) else { return nil }
    return account
  }

  public func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32? {
    guard case .group(let number) = try answer(to: .group(name), patience) else { return nil }
    return number
  }

  public func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    guard case .name(let name) = try answer(to: .userName(uid), patience) else { return nil }
    return name
  }

  public func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    guard case .name(let name) = try answer(to: .groupName(gid), patience) else { return nil }
    return name
  }

  public func prepare(_ question: UserQuestion, _ done: @escaping @Sendable () -> Void) {
    switch verdict(question) {
    case .known, .refused: return done()
    case .old, .unknown: search(question)
    }
    // If nothing is under way, it was answered a moment ago, or there is no room.
    if !memory.withLock({ $0.add(done, to: question) }) { done() }
  }

  // MARK: Asking

  private func answer(
    to question: UserQuestion, _ patience: Patience
  ) throws(StoreFailure) -> UserAnswer {
    if let answer = try answer(verdict(question), question) { return answer }
    search(question)
    guard patience == .mayWait else { throw .wouldWait }
    wait(for: question)
    if let answer = try answer(verdict(question), question) { return answer }
    throw .heldUp(.noServerResources)
  }

  private func answer(
    _ verdict: UserMemory.Verdict, _ question: UserQuestion
  ) throws(StoreFailure) -> UserAnswer? {
    switch verdict {
    case .known(let answer): return answer
    case .old(let answer):
      search(question)
      return answer
    case .refused(let code): throw .refused(code)
    case .unknown: return nil
    }
  }

  private func verdict(_ question: UserQuestion) -> UserMemory.Verdict {
    let now = v_coarse_clock()
    let isChanged = noteChanges(at: now)
    return memory.withLock { memory in
      if isChanged { memory.noteChange(at: now) }
      return memory.verdict(question, at: now)
    }
  }

  private func search(_ question: UserQuestion) {
    guard memory.withLock({ $0.begin(question, at: v_coarse_clock()) }) else { return }
    threads.add { [self] in
      let result = Result { () throws(StoreFailure) in try source.find(question) }
      let waiters = memory.withLock { $0.end(question, result, at: v_coarse_clock()) }
      for waiter in waiters { waiter() }
    }
  }

  /// Blocks the calling thread for as long as a disk might, unless others wait here already.
  private func wait(for question: UserQuestion) {
    defer { waiting.subtract(1, ordering: .relaxed) }
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.waitingMax else { return }
    let latch = Latch()
    guard memory.withLock({ $0.add({ latch.open() }, to: question) }) else { return }
    latch.wait(atMost: Self.patienceNanoseconds)
  }

  private func noteChanges(at now: Int64) -> Bool {
    changes.withLock { changes in
      guard now - changes.checkedAt >= Self.checkNanoseconds else { return false }
      changes.checkedAt = now
      let stamps = unsafe [v_changed_at("/etc/passwd"), v_changed_at("/etc/group")]
      guard stamps != changes.stamps else { return false }
      changes.stamps = stamps
      return true
    }
  }
}

/// A flag that one thread waits for and another one sets.
///
/// `@unchecked Sendable`: `isOpen` is touched only inside `monitor`.
private final class Latch: @unchecked Sendable {
  private let monitor = Monitor()
  private var isOpen = false

  func open() {
    monitor.enter {
      isOpen = true
      monitor.signal()
    }
  }

  func wait(atMost nanoseconds: Int) {
    monitor.enter { if !isOpen { monitor.wait(atMost: nanoseconds) } }
  }
}
