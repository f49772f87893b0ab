import CVLinux
import Foundation
import Synchronization
import Testing
import VKeeping
import VLinuxPrograms
import VLinuxStore
import VNode
import VProtocol
import VRuntime
import VStore

/// Real programs: a team server's machine with a directory of its own, on a real loop.
struct Workshop {
  static let node: Node = {
    do {
      let machine = try LinuxMachine()
      let node = Node(host: "kea", machine: machine, secret: nil)
      machine.run(node)
      return node
    } catch {
      fatalError("\(error)")
    }
  }()

  /// Beside the tests, as it is beside the node.
  static let keeper: String = {
    let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests ?? "").deletingLastPathComponent().path + "/vkeep"
  }()

  let directory = "/tmp/v-team-\(getpid())-\(UInt32.random(in: 0 ... .max))"
  let resources: HostResources
  let machine: LinuxPrograms

  init(
    outlivesServer: Bool = true, users: any UserTable = LinuxUsers(),
    _ change: (inout HostResources) -> Void = { _ in }
  ) {
    var resources = HostResources()
    change(&resources)
    self.resources = resources
    machine = LinuxPrograms(
      Self.node, users: users, directory: directory, outlivesServer: outlivesServer,
      keeper: Self.keeper,
      resources: resources)
  }

  /// A machine that finds the programs of this one.
  func successor() -> LinuxPrograms {
    LinuxPrograms(
      Self.node, users: LinuxUsers(), directory: directory, outlivesServer: true,
      keeper: Self.keeper,
      resources: resources)
  }

  static func order(_ command: String, user: String = "root") -> ProgramOrder {
    ProgramOrder(
      name: "sh", arguments: ["/bin/sh", "-c", command].map { Array($0.utf8) }, user: user,
      starter: "\(user)@kea")
  }

  func start(
    _ command: String, _ change: (inout ProgramOrder) -> Void = { _ in }
  ) async throws -> any HostedProgram {
    var order = Self.order(command)
    change(&order)
    return try await start(order)
  }

  func start(_ order: ProgramOrder) async throws -> any HostedProgram {
    try await answer { machine.start(order, completion: $0) }.get()
  }

  /// The pids of the keepers.
  var keepers: [Int32] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).compactMap {
      Int32($0)
    }
  }

  /// Forgets the programs and checks that no process is left.
  func close(_ programs: any HostedProgram...) async {
    var pids = keepers
    for program in programs {
      pids += (await answer { program.processes(completion: $0) }) + [program.pid]
    }
    let groups = keepers.flatMap { resources.groups(ofKeeper: $0) }
    for program in programs { program.forget() }
    await expect("processes are gone") { pids.allSatisfy { !Self.isAlive($0) } }
    await expect("sockets are gone") { keepers.isEmpty }
    await expect("cgroups are gone") {
      groups.allSatisfy { !FileManager.default.fileExists(atPath: $0) }
    }
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// A zombie that another process must reap does not count.
  static func isAlive(_ pid: Int32) -> Bool {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let end = stat.lastIndex(of: ")")
    else { return false }
    return !stat[end...].dropFirst(2).hasPrefix("Z")
  }
}

/// Waits for a completion.
func answer<Value: Sendable>(
  _ ask: (@escaping @Sendable (Value) -> Void) -> Void
) async -> Value {
  await withCheckedContinuation { continuation in ask { continuation.resume(returning: $0) } }
}

/// Waits, 10 s at most, until a condition holds.
func expect(
  _ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ isSo: () async -> Bool
) async {
  for _ in 0..<2000 {
    if await isSo() { return }
    try? await Task.sleep(for: .milliseconds(5))
  }
  Issue.record("not in time: \(what)", sourceLocation: sourceLocation)
}

extension HostedProgram {
  func read(_ stream: VStore.OutputStream = .out, at position: UInt64, count: Int = 16_384)
    async
    -> StreamRead
  {
    await answer { read(stream, from: position, count: count, completion: $0) }
  }

  /// The output from `position` on: up to the end, or until `isEnough`.
  func output(
    _ stream: VStore.OutputStream = .out, from position: UInt64 = 0,
    until isEnough: ([UInt8]) -> Bool = { _ in false }
  ) async -> [UInt8] {
    var all: [UInt8] = []
    while !isEnough(all) {
      let next = position + UInt64(all.count)
      guard case .octets(let octets, next) = await read(stream, at: next) else { break }
      all += octets
    }
    return all
  }

  func text(_ stream: VStore.OutputStream = .out, until word: String? = nil) async -> String {
    let octets = await output(stream) { octets in
      word.map { String(decoding: octets, as: UTF8.self).contains($0) } ?? false
    }
    return String(decoding: octets, as: UTF8.self)
  }

  func write(_ text: String) async -> ReplyCode {
    await answer { write(Array(text.utf8), at: nil, completion: $0) }
  }

  func control(_ command: ProgramCommand, asUser: Bool = true) async -> Refusal? {
    await answer { control(command, asUser: asUser, completion: $0) }
  }

  func ended() async -> ProgramState {
    await expect("it has ended") { state.isEnd }
    return state
  }
}
