import Foundation
import Synchronization
import Testing
import VLinuxStore
import VProtocol
import VStore

/// A table of users that a test controls; it hangs while it is closed.
final class TestSource: UserSource {
  private struct State {
    var users: [String: UInt32] = ["ann": 2001, "bob": 2002]
    var failure: ReplyCode?
    var isHanging = false
    var asked: [UserQuestion] = []
  }

  private let state = Mutex(State())

  var asked: [UserQuestion] { state.withLock { $0.asked } }
  func hang() { state.withLock { $0.isHanging = true } }
  func goOn() { state.withLock { $0.isHanging = false } }
  func fail(_ code: ReplyCode?) { state.withLock { $0.failure = code } }

  func find(_ question: UserQuestion) throws(StoreFailure) -> UserAnswer {
    state.withLock { $0.asked.append(question) }
    while state.withLock({ $0.isHanging }) { usleep(1000) }
    if let code = state.withLock({ $0.failure }) { throw .refused(code) }
    let users = state.withLock { $0.users }
    switch question {
    case .user(let name):
      return .user(
        users[name].map { UserAccount(Credentials(uid: $0, gid: $0), home: [], shell: []) })
    case .group(let name): return .group(users[name])
    case .userName(let id), .groupName(let id):
      return .name(users.first { $0.value == id }?.key)
    }
  }
}

/// The result of an attempt, repeated as long as it is held up: machines are busy.
private func patiently<Value>(
  _ attempt: () throws(StoreFailure) -> Value
) throws(StoreFailure) -> Value {
  for _ in 0..<500 {
    do throws(StoreFailure) {
      return try attempt()
    } catch {
      guard case .heldUp = error else { throw error }
    }
  }
  return try attempt()
}

@Suite("The table of users", .timeLimit(.minutes(1)))
struct UserTableTests {
  private func until(_ isSo: () -> Bool) -> Bool {
    for _ in 0..<5000 {
      if isSo() { return true }
      usleep(1000)
    }
    return false
  }

  @Test("the users of this host are known by name")
  func linuxUsers() throws {
    let users = LinuxUsers()
    let root = try patiently({ () throws(StoreFailure) in
      try users.credentials(ofUser: "root", .mayWait)
    })
    #expect(root?.uid == 0 && root?.gid == 0)
    #expect(try users.credentials(ofUser: "root", .atOnce) == root)
    #expect(try users.account(ofUser: "root", .atOnce)?.home == Array("/root".utf8))
    #expect(
      try patiently({ () throws(StoreFailure) in
        try users.credentials(ofUser: "no such user", .mayWait)
      }) == nil)
    #expect(try users.credentials(ofUser: "no such user", .atOnce) == nil)
    #expect(
      try patiently({ () throws(StoreFailure) in try users.credentials(ofUser: "root\0", .mayWait) }
      ) == nil)
    #expect(try patiently({ () throws(StoreFailure) in try users.userName(0, .mayWait) }) == "root")
    #expect(
      try patiently({ () throws(StoreFailure) in try users.userName(4_000_000_000, .mayWait) })
        == nil)
    #expect(try patiently({ () throws(StoreFailure) in try users.groupID("root", .mayWait) }) == 0)
    #expect(
      try patiently({ () throws(StoreFailure) in try users.groupName(0, .mayWait) }) == "root")
  }

  @Test("one that hangs blocks nobody, and makes no user absent")
  func hanging() throws {
    let source = TestSource()
    let users = LinuxUsers(source)
    #expect(
      try patiently({ () throws(StoreFailure) in try users.credentials(ofUser: "ann", .mayWait) })?
        .uid == 2001)
    source.hang()
    defer { source.goOn() }
    #expect(throws: StoreFailure.wouldWait) { try users.credentials(ofUser: "bob", .atOnce) }
    #expect(throws: StoreFailure.heldUp(.noServerResources)) {
      try users.credentials(ofUser: "bob", .mayWait)
    }
    // Known users are still answered, and the table is asked once for all callers.
    #expect(try users.credentials(ofUser: "ann", .atOnce)?.uid == 2001)
    let told = Mutex(0)
    for _ in 0..<10 { users.prepare(.user("bob")) { told.withLock { $0 += 1 } } }
    #expect(source.asked.count { $0 == .user("bob") } == 1 && told.withLock { $0 } == 0)
    source.goOn()
    #expect(until { told.withLock { $0 } == 10 })
    #expect(try users.credentials(ofUser: "bob", .atOnce)?.uid == 2002)
  }

  @Test("one that fails refuses, and goes on when it works again")
  func failing() throws {
    let source = TestSource()
    let users = LinuxUsers(source)
    source.fail(.noServerResources)
    #expect(throws: StoreFailure.refused(.noServerResources)) {
      try patiently({ () throws(StoreFailure) in try users.credentials(ofUser: "ann", .mayWait) })
    }
    #expect(throws: StoreFailure.refused(.noServerResources)) {
      try patiently({ () throws(StoreFailure) in try users.userName(2001, .mayWait) })
    }
    source.fail(nil)
    // A failure is remembered for a second.
    #expect(until { (try? users.credentials(ofUser: "ann", .mayWait))?.uid == 2001 })
  }

  // MARK: What is remembered

  private static let second: Int64 = 1_000_000_000
  private static let ann = UserAnswer.user(
    UserAccount(Credentials(uid: 2001, gid: 2001), home: [], shell: []))

  @Test("an old answer is used while the table is asked again, an old absence is not")
  func ages() {
    let memory = Remembering()
    let (ann, zoe) = (UserQuestion.user("ann"), UserQuestion.user("zoe"))
    #expect(memory.verdict(ann, at: 0) == .unknown)
    for question in [ann, zoe] {
      #expect(memory.begin(question, at: 0) && !memory.begin(question, at: 0))
    }
    _ = memory.end(ann, .success(Self.ann), at: 5)
    _ = memory.end(zoe, .success(.user(nil)), at: 5)
    #expect(memory.verdict(ann, at: 59 * Self.second) == .known(Self.ann))
    #expect(memory.verdict(zoe, at: 59 * Self.second) == .known(.user(nil)))
    #expect(memory.verdict(ann, at: 60 * Self.second) == .old(Self.ann))
    #expect(memory.verdict(zoe, at: 60 * Self.second) == .unknown)
    // After a failure known users stay known, for an hour.
    #expect(memory.begin(ann, at: 61 * Self.second))
    _ = memory.end(ann, .failure(.refused(.deviceError)), at: 61 * Self.second)
    #expect(memory.verdict(ann, at: 61 * Self.second) == .old(Self.ann))
    #expect(!memory.begin(ann, at: 61 * Self.second) && memory.begin(ann, at: 62 * Self.second))
    #expect(memory.verdict(ann, at: 3600 * Self.second) == .unknown)
  }

  @Test("an answer from before a change of the table is old")
  func changes() {
    let memory = Remembering()
    let ann = UserQuestion.user("ann")
    #expect(memory.begin(ann, at: 10))
    memory.noteChange(at: 20)
    _ = memory.end(ann, .success(Self.ann), at: 30)
    #expect(memory.verdict(ann, at: 30) == .old(Self.ann))
    #expect(memory.begin(ann, at: 40))
    _ = memory.end(ann, .success(Self.ann), at: 50)
    #expect(memory.verdict(ann, at: 50) == .known(Self.ann))
    #expect(memory.begin(ann, at: 60))
    _ = memory.end(ann, .success(.user(nil)), at: 70)
    #expect(memory.verdict(ann, at: 70) == .known(.user(nil)))
  }

  @Test("absent names drop no known user, and questions under way are bounded")
  func bounds() {
    let memory = Remembering()
    _ = memory.begin(.user("ann"), at: 0)
    _ = memory.end(.user("ann"), .success(Self.ann), at: 0)
    for number in 0..<10_000 {
      #expect(memory.begin(.user("x\(number)"), at: 0))
      _ = memory.end(.user("x\(number)"), .success(.user(nil)), at: 0)
    }
    #expect(memory.verdict(.user("ann"), at: 1) == .known(Self.ann))
    let begun = (0..<1000).count { memory.begin(.user("y\($0)"), at: 0) }
    #expect(begun == UserMemory.searchesMax)
    let isAdded = memory.add({}, to: .user("not under way"))
    #expect(!isAdded)
    let added = (0..<5000).count { _ in memory.add({}, to: .user("y1")) }
    #expect(added == UserMemory.waitersMax)
    #expect(memory.end(.user("y1"), .success(.user(nil)), at: 1).count == added)
    let isRoomLeft = memory.add({}, to: .user("y2"))
    #expect(isRoomLeft)
  }
}

@Suite("A file server whose table of users is down", .enabled(if: Served.isRoot))
struct AbsentUserTableTests {
  private static let ann = Principal(user: "ann", host: "moa")

  /// An answer that may take some tries: a busy machine makes a slow table.
  private func ask<Op: VProtocol.Operation>(
    _ operation: Op, _ served: Served, as who: Principal = ann
  ) throws -> Op.Answer {
    let client = served.backplane.begin(operation.message, to: served.manager, as: who)
    let reply = try #require(served.backplane.runTimers(untilReplyTo: client))
    guard reply.reply.isOK else { throw Refusal(code: reply.reply) }
    return try Op.Answer(parsing: reply)
  }

  private func make(_ name: String, _ served: Served) -> AddName {
    AddName(served.name(name), kind: .context, permissions: 0o755)
  }

  @Test("serves known users, and treats no user as nobody")
  func hanging() throws {
    let source = TestSource()
    let served = try Served(users: LinuxUsers(source))
    _ = try ask(make("d", served), served)
    #expect(try ask(QueryObject(served.name("d")), served).owner == "ann")
    source.hang()
    defer { source.goOn() }
    // More unknown users than there are threads for the disk.
    let bob = Principal(user: "bob", host: "moa")
    let waiting = (0..<20).map { number in
      served.backplane.begin(make("by-bob-\(number)", served).message, to: served.manager, as: bob)
    }
    #expect(try served.ask(QueryObject(served.name("d")), as: Self.ann).owner == "ann")
    #expect(try served.ask(make("d/e", served), as: Self.ann).owner == "ann")
    #expect(waiting.allSatisfy { served.backplane.reply(to: $0) == nil })
    source.goOn()
    for client in waiting {
      #expect(served.backplane.runTimers(untilReplyTo: client)?.reply == .ok)
    }
    #expect(try ask(QueryObject(served.name("by-bob-7")), served).owner == "bob")
  }

  @Test("refuses unknown users if the table fails")
  func failing() throws {
    let source = TestSource()
    let served = try Served(users: LinuxUsers(source))
    source.fail(.noServerResources)
    #expect(throws: Refusal(code: .noServerResources)) { try ask(make("d", served), served) }
    #expect(access(served.path + "/d", F_OK) != 0)
  }

  @Test("does a request once, although it cannot name the owner afterwards")
  func namesAfterwards() throws {
    let source = TestSource()
    let served = try Served(users: LinuxUsers(source))
    _ = try ask(CheckAccess(served.name(""), mask: 0), served)
    source.hang()
    defer { source.goOn() }
    let made = try ask(
      CreateInstance(served.name("f"), mode: [.write, .create, .exclusive]), served)
    #expect(made.isNew && made.descriptor.owner == "#2001")
  }
}

/// A value that can be changed inside of an expectation.
private final class Remembering {
  private var memory = UserMemory()

  func verdict(_ question: UserQuestion, at now: Int64) -> UserMemory.Verdict {
    memory.verdict(question, at: now)
  }
  func noteChange(at now: Int64) { memory.noteChange(at: now) }
  func begin(_ question: UserQuestion, at now: Int64) -> Bool { memory.begin(question, at: now) }
  func add(_ waiter: @escaping @Sendable () -> Void, to question: UserQuestion) -> Bool {
    memory.add(waiter, to: question)
  }
  func end(
    _ question: UserQuestion, _ result: Result<UserAnswer, StoreFailure>, at now: Int64
  ) -> [@Sendable () -> Void] { memory.end(question, result, at: now) }
}

extension TestBackplane {
  /// Runs timers until a client has its reply.
  func runTimers(untilReplyTo client: EntityID) -> Message? {
    for _ in 0..<10_000 {
      if let reply = reply(to: client) { return reply }
      runTimers()
      usleep(1000)
    }
    return nil
  }
}
