import Foundation
import Synchronization
import Testing
import VClient
import VDirectory
import VMount
import VNode
import VProtocol
import VRuntime

/// A table of users that gives no answer until a test lets it.
private final class SlowNames: UserNames {
  private struct State {
    /// Nil gives no answer.
    var names: [UInt32: String]?
    var waiting: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())

  var waitingCount: Int { state.withLock { $0.waiting.count } }

  /// Answers from now on; with nil it still gives no answer to waiting calls.
  func answer(_ names: [UInt32: String]?) {
    let waiting = state.withLock { state in
      defer { state.waiting = [] }
      state.names = names
      return state.waiting
    }
    for body in waiting { body() }
  }

  func userName(_ id: UInt32) -> NameAnswer<String> {
    state.withLock { state in
      guard let names = state.names else { return .unknown }
      return names[id].map { .known($0) } ?? .absent
    }
  }
  func groupName(_ id: UInt32) -> NameAnswer<String> { userName(id) }
  func userID(_ name: String) -> NameAnswer<UInt32> {
    state.withLock { state in
      guard let names = state.names else { return .unknown }
      return names.first { $0.value == name }.map { .known($0.key) } ?? .absent
    }
  }
  func groupID(_ name: String) -> NameAnswer<UInt32> { userID(name) }

  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void) {
    state.withLock { $0.waiting.append(done) }
  }
}

private struct FixedNames: UserNames {
  let names: [UInt32: String] = [1: "ann", 2: "ann@corp", 3: "an n", 4: "\u{e9}", 5: "#1"]

  func userName(_ id: UInt32) -> NameAnswer<String> { names[id].map { .known($0) } ?? .absent }
  func groupName(_ id: UInt32) -> NameAnswer<String> { userName(id) }
  func userID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func groupID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void) { done() }
}

/// A mount of an empty name space, on a real loop.
private final class Mounted {
  let path = "/tmp/v-mount-\(getpid())-\(UInt32.random(in: 0 ... .max))"
  let names = SlowNames()
  private let mount: Mount
  private let directory: Directory

  static let isPossible = getuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let machine = try LinuxMachine()
    let node = Node(host: "kea", machine: machine, secret: nil)
    machine.run(node)
    node.announce()
    directory = Directory(node)
    let clients = ClientPool(node)
    mount = try Mount(
      node, directory.nameSpace, mountPoint: path, source: "kea",
      names: NameCache(node, clients: clients), clients: clients, users: names
    ) { _ in
      node.makeServer(knowsPrincipals: false) { node.refuse(.illegalRequest, $0) }
    }
  }

  deinit {
    mount.unmount()
    rmdir(path)
  }

  /// Starts `stat` of the mount by a user: another process, because one that serves a mount must
  /// not wait for it.
  func stat(as uid: UInt32) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
    process.arguments = [
      "--reuid=\(uid)", "--clear-groups", "stat", "-c", "%u", path,
    ]
    process.standardOutput = Pipe()
    process.standardError = Pipe()
    try process.run()
    return process
  }
}

@Suite(
  "A mount whose table of users is slow", .enabled(if: Mounted.isPossible), .serialized,
  .timeLimit(.minutes(1)))
struct UserNamesTests {
  private func until(_ isSo: () -> Bool) -> Bool {
    for _ in 0..<5000 {
      if isSo() { return true }
      usleep(1000)
    }
    return false
  }

  @Test("serves known users, and the others as soon as they are known")
  func slow() throws {
    let mounted = try Mounted()
    // Many more of them than there are threads in the loop.
    let waiting = try (0..<20).map { _ in try mounted.stat(as: 4711) }
    #expect(until { mounted.names.waitingCount >= 20 })
    let root = try mounted.stat(as: 0)
    root.waitUntilExit()
    #expect(root.terminationStatus == 0)
    #expect(waiting.allSatisfy { $0.isRunning })
    // A signal ends the wait; other signals are blocked in processes that a test starts.
    kill(waiting[0].processIdentifier, SIGKILL)
    waiting[0].waitUntilExit()
    mounted.names.answer([4711: "ann"])
    for process in waiting.dropFirst() {
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
    }
    #expect(until { mounted.names.waitingCount == 0 })
  }

  @Test("a user whose name no principal can have is sent as a number")
  func principals() {
    let users = Users(table: FixedNames())
    #expect(users.principal(ofUser: 0) == "root")
    #expect(users.principal(ofUser: 1) == "ann")
    #expect((2...6).allSatisfy { users.principal(ofUser: $0) == "#\($0)" })
    // As the owner of a file it is the account's name.
    #expect(users.name(ofUser: 2) == "ann@corp")
  }

  @Test("takes no user for another: an unknown one is refused")
  func untold() throws {
    let mounted = try Mounted()
    let process = try mounted.stat(as: 4711)
    #expect(until { mounted.names.waitingCount > 0 })
    mounted.names.answer(nil)
    // Each of its requests, one after the other.
    while process.isRunning {
      mounted.names.answer(nil)
      usleep(1000)
    }
    process.waitUntilExit()
    #expect(process.terminationStatus == 1)
    let again = try mounted.stat(as: 4711)
    #expect(until { mounted.names.waitingCount > 0 })
    mounted.names.answer([:])
    again.waitUntilExit()
    #expect(again.terminationStatus == 0)
  }
}
