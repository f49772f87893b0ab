import Foundation
import Synchronization
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

/// A user may look at a process as ptrace(2) allows, whoever started it.
@Suite("Looks into processes", .needsRoot, .timeLimit(.minutes(1)))
struct LookTests {
  private let shop = Workshop()
  private static let ann = "daemon"

  /// The result of reading everything that is private: 0 if it was shown.
  private func codes(_ pid: Int32, as onlooker: Onlooker) async -> [ReplyCode] {
    let machine = shop.machine
    func code(_ outcome: Outcome<[UInt8]>) -> ReplyCode {
      switch outcome {
      case .success(let octets): octets.isEmpty ? .endOfFile : .ok
      case .failure(let refusal): refusal.code
      }
    }
    let maps = await answer {
      machine.read(.maps, ofProcess: pid, as: .fullRoot, completion: $0)
    }
    let text = String(decoding: (try? maps.get()) ?? [], as: UTF8.self)
    let start = UInt64(text.prefix { $0 != "-" }, radix: 16) ?? 0
    var codes: [ReplyCode] = []
    for file in [ProcessFile.environ, .maps] {
      codes.append(
        code(await answer { machine.read(file, ofProcess: pid, as: onlooker, completion: $0) }))
    }
    codes.append(
      code(
        await answer {
          machine.readMemory(
            ofProcess: pid, at: start, count: 4, as: onlooker, completion: $0)
        }))
    for file in [ProcessFile.status, .cmdline] {
      #expect(
        code(await answer { machine.read(file, ofProcess: pid, as: onlooker, completion: $0) })
          == .ok)
    }
    return codes
  }

  private static let shown: [ReplyCode] = [.ok, .ok, .ok]
  private static let refused: [ReplyCode] = [.noPermission, .noPermission, .noPermission]

  @Test("a user can look at her own processes, and at no others")
  func own() async throws {
    let program = try await shop.start("") {
      $0.user = Self.ann
      $0.arguments = [Array("sleep".utf8), Array("1000".utf8)]
    }
    #expect(await codes(program.pid, as: .user(Self.ann)) == Self.shown)
    #expect(await codes(program.pid, as: .fullRoot) == Self.shown)
    #expect(await codes(program.pid, as: .user("bin")) == Self.refused)
    #expect(await codes(program.pid, as: .user("nobody")) == Self.refused)
    #expect(await codes(getpid(), as: .user(Self.ann)) == Self.refused)
    #expect(
      await codes(program.pid, as: .user("no-such-user")) == [.notFound, .notFound, .notFound])
    await shop.close(program)
  }

  @Test(
    "a set-user program, and one that may not be read, are closed to the user who started them",
    arguments: [0o4755, 0o2755, 0o711])
  func others(permissions: UInt16) async throws {
    let path = "/var/tmp/v-look-\(getpid())-\(permissions)"
    // Not from this process: processes that it starts meanwhile would have the file open, and keep
    // it from being run.
    let mode = String(permissions, radix: 8)
    let copy = try await shop.start("cp /bin/sleep \(path) && chmod \(mode) \(path)")
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(await copy.ended() == .exited(0))
    copy.forget()
    // It changes its user itself, as su does when a shell runs it.
    let program = try await shop.start("exec \(path) 1000") { $0.user = Self.ann }
    await expectCopy(program)
    #expect(await codes(program.pid, as: .user(Self.ann)) == Self.refused)
    #expect(await codes(program.pid, as: .user("bin")) == Self.refused)
    #expect(await codes(program.pid, as: .fullRoot) == Self.shown)
    await shop.close(program)
  }

  private func expectCopy(_ program: any HostedProgram) async {
    await expect("it has become the other program") {
      let name = try? String(contentsOfFile: "/proc/\(program.pid)/comm", encoding: .utf8)
      return name?.hasPrefix("v-look") == true
    }
  }

  /// As below a mount: its server, and not Linux, knows the rights.
  @Test("a program that its user may not read is closed to her, even if Linux shows it")
  func unreadable() async throws {
    let path = "/var/tmp/v-look-\(getpid())-later"
    let copy = try await shop.start("cp /bin/sleep \(path) && chmod 755 \(path)")
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(await copy.ended() == .exited(0))
    copy.forget()
    let program = try await shop.start("exec \(path) 1000") { $0.user = Self.ann }
    await expectCopy(program)
    #expect(await codes(program.pid, as: .user(Self.ann)) == Self.shown)
    // Linux checked only at the start.
    #expect(chmod(path, 0o711) == 0)
    #expect(await codes(program.pid, as: .user(Self.ann)) == Self.refused)
    #expect(await codes(program.pid, as: .fullRoot) == Self.shown)
    await shop.close(program)
  }

  @Test("a thread that has looked for a user is root's again")
  func credentials() async throws {
    let program = try await shop.start("exec sleep 1000")
    for _ in 0..<50 {
      #expect(await codes(program.pid, as: .user(Self.ann)) == Self.refused)
      #expect(await codes(program.pid, as: .fullRoot) == Self.shown)
    }
    await shop.close(program)
  }

  @Test("a table of users that hangs keeps programs from starting, and no thread from its work")
  func hangingUsers() async throws {
    let users = HangingUsers()
    let shop = Workshop(users: users)
    let starts = Mutex<[Outcome<any HostedProgram>]>([])
    for _ in 0..<20 {
      shop.machine.start(Workshop.order("sleep 1000")) { outcome in
        starts.withLock { $0.append(outcome) }
      }
    }
    // Twenty of them would block all threads for the disk. Looked at where the answer comes: this
    // test may be held up by others until the starts have reached their time limit.
    let isAnsweredFirst: Bool = await answer { done in
      shop.machine.otherProcesses { others in
        let isFirst = !others.isEmpty && starts.withLock { $0.isEmpty }
        users.refuse()
        done(isFirst)
      }
    }
    #expect(isAnsweredFirst)
    await expect("all are refused") { starts.withLock { $0.count } == 20 }
    for outcome in starts.withLock({ $0 }) {
      guard case .failure(let refusal) = outcome else {
        Issue.record("started")
        continue
      }
      #expect(refusal.code == .deviceError && refusal.words.contains("table of users"))
    }
    let known = await answer { shop.machine.hasUser("root", completion: $0) }
    guard case .failure = known else {
      Issue.record("\(known)")
      return
    }
  }
}

/// A table of users that gives no answer until it refuses.
private final class HangingUsers: UserTable {
  private struct State {
    var waiting: [@Sendable () -> Void] = []
    var isRefusing = false
  }
  private let state = Mutex(State())

  func refuse() {
    let waiting = state.withLock { state in
      state.isRefusing = true
      return state.waiting
    }
    for body in waiting { body() }
  }

  func prepare(_ question: UserQuestion, _ done: @escaping @Sendable () -> Void) {
    let isRefusing = state.withLock { state in
      if !state.isRefusing { state.waiting.append(done) }
      return state.isRefusing
    }
    if isRefusing { done() }
  }

  private func refused<Value>() throws(StoreFailure) -> Value? {
    throw state.withLock { $0.isRefusing } ? .refused(.deviceError) : .wouldWait
  }
  func credentials(ofUser name: String, _ patience: Patience) throws(StoreFailure) -> Credentials? {
    try refused()
  }
  func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32? {
    try refused()
  }
  func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    try refused()
  }
  func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    try refused()
  }
}
