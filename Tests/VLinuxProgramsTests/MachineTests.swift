import Foundation
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

@Suite("Machine of the team server", .needsRoot, .timeLimit(.minutes(1)))
struct MachineTests {
  private static func text(_ path: String) -> String {
    (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
  }

  @Test("the mechanism applies classes, at the start and later")
  func cgroups() async throws {
    let shop = Workshop()
    // Other mechanisms exist only on some machines.
    guard shop.machine.classMechanism == .cgroup1 else { return }
    let program = try await shop.start("sleep 1000") { $0.programClass = .guest }
    let keeper = try #require(shop.keepers.first)
    let group = try #require(shop.resources.groups(ofKeeper: keeper).last)
    func share() -> String {
      [Self.text(group + "/cpu.shares"), Self.text(group + "/cpu.idle")].joined()
    }
    func priority() -> Priority {
      ProcessPriorities(shop.resources).priority(of: program.pid, at: Time(nanoseconds: 0))
    }
    #expect(share().hasSuffix("\n1\n") && priority() == .guest)
    #expect(await program.control(.setClass(.background)) == nil)
    #expect(share() == "64\n0\n" && program.order.programClass == .background)
    #expect(priority() == .background)
    #expect(await program.control(.setClass(.foreground)) == nil)
    #expect(share() == "1024\n0\n" && priority() == .normal)
    let members = Self.text(group + "/cgroup.procs").split(separator: "\n")
    #expect(members.contains("\(program.pid)"))
    await shop.close(program)
  }

  @Test(
    "without cgroups, classes are nice values of sessions or processes",
    arguments: [ClassMechanism.autogroup, .nice])
  func nice(mechanism: ClassMechanism) async throws {
    let shop = Workshop {
      $0.mechanism = mechanism
      $0.cgroup2 = ""
    }
    func nice(_ program: any HostedProgram) -> Int {
      guard mechanism == .autogroup else {
        return Int(getpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(program.pid)))
      }
      let line = Self.text("/proc/\(program.pid)/autogroup").split(separator: " ").last
      return Int((line ?? "").trimmingCharacters(in: .newlines)) ?? -1
    }
    let program = try await shop.start("exec sleep 1000") { $0.programClass = .background }
    let priorities = ProcessPriorities(shop.resources)
    func priority(at seconds: Int64) -> Priority {
      priorities.priority(of: program.pid, at: Time(nanoseconds: 0) + .seconds(seconds))
    }
    #expect(nice(program) == 10 && priority(at: 0) == .background)
    #expect(await program.control(.setClass(.guest)) == nil)
    #expect(nice(program) == 19 && priority(at: 1) == .guest)
    #expect(await program.control(.setClass(.foreground)) == nil)
    #expect(nice(program) == 0 && priority(at: 2) == .normal)
    // It is not looked up for every request.
    #expect(await program.control(.setClass(.guest)) == nil)
    #expect(priority(at: 2) == .normal && priority(at: 3) == .guest)
    await shop.close(program)
  }

  @Test("all other processes are listed, without kernel threads and our programs")
  func otherProcesses() async throws {
    let shop = Workshop()
    let program = try await shop.start("sleep 1000 & echo up; wait")
    #expect(await program.text(until: "up") == "up\n")
    let others = await answer { shop.machine.otherProcesses(completion: $0) }
    #expect(others.contains { $0.pid == getpid() })
    #expect(!others.contains { Self.text("/proc/\($0.pid)/status").contains("Kthread:\t1") })
    let ours = await answer { program.processes(completion: $0) }
    #expect(ours.count == 2 && others.allSatisfy { !ours.contains($0.pid) })
    let usage = await answer { program.usage(completion: $0) }
    #expect(usage.processCount == 2 && usage.memoryKilobytes > 100)
    await shop.close(program)
  }

  @Test("a process is read as in /proc, and its memory where something is mapped")
  func process() async throws {
    let shop = Workshop()
    let program = try await shop.start("") {
      $0.arguments = [Array("sleep".utf8), Array("1000".utf8)]
      $0.environment = [Array("X=y".utf8)]
    }
    func read(_ file: ProcessFile) async throws -> String {
      let octets = try await answer {
        shop.machine.read(file, ofProcess: program.pid, as: .fullRoot, completion: $0)
      }.get()
      return String(decoding: octets, as: UTF8.self)
    }
    #expect(try await read(.cmdline) == "sleep\u{0}1000\u{0}")
    #expect(try await read(.environ).hasPrefix("X=y\u{0}HOME=/root\u{0}USER=root\u{0}"))
    #expect(try await read(.status).hasPrefix("Name:\tsleep\n"))
    let start = try await read(.maps).prefix { $0 != "-" }
    func memory(_ position: UInt64) async -> Outcome<[UInt8]> {
      await answer {
        shop.machine.readMemory(
          ofProcess: program.pid, at: position, count: 4, as: .fullRoot, completion: $0)
      }
    }
    #expect(try await memory(UInt64(start, radix: 16) ?? 0).get() == Array("\u{7F}ELF".utf8))
    guard case .failure(let refusal) = await memory(0) else {
      Issue.record("nothing is mapped at 0")
      return
    }
    #expect(refusal.code == .outOfRange)
    await shop.close(program)
    await #expect(throws: Refusal(.noProcess, "no such process: \(program.pid)")) {
      try await read(.status)
    }
  }

  @Test("users are known by name, and the load is the host's")
  func users() async {
    let shop = Workshop()
    func hasUser(_ name: String) async -> Outcome<Bool> {
      await answer { shop.machine.hasUser(name, completion: $0) }
    }
    #expect(await hasUser("daemon") == .success(true))
    #expect(await hasUser("root") == .success(true))
    #expect(await hasUser("nobody") == .success(false))
    #expect(await hasUser("no-such-user") == .success(false))
    let load = shop.machine.loadThousandths
    let line = Self.text("/proc/loadavg").split(separator: " ").first.flatMap { Double($0) }
    #expect(abs(Double(load) / 1000 - (line ?? -100)) < 5)
  }

  @Test("a cancelled read ends at once and loses no octets")
  func cancel() async throws {
    let shop = Workshop()
    let program = try await shop.start("cat")
    let read = await withCheckedContinuation { continuation in
      let ticket = program.read(.out, from: 0, count: 10) { continuation.resume(returning: $0) }
      program.cancel(ticket)
      program.cancel(ticket)
    }
    #expect(read == .cancelled)
    #expect(await program.write("x") == .ok)
    #expect(await program.read(at: 0) == .octets([UInt8(ascii: "x")], position: 0))
    // Waiting reads end when the program is forgotten.
    async let last = program.read(at: 1)
    #expect(await program.write("") == .ok)
    await shop.close(program)
    #expect(await last == .end)
  }

  @Test("many programs at once start, end and leave nothing")
  func many() async throws {
    let shop = Workshop()
    let programs = try await withThrowingTaskGroup(of: (any HostedProgram).self) { group in
      for index in 0..<20 {
        group.addTask { try await shop.start("echo \(index); exit \(index)") }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(programs.map(\.pid)).count == 20)
    for program in programs {
      guard case .exited(let status) = await program.ended() else {
        Issue.record("\(program.state)")
        continue
      }
      #expect(await program.text() == "\(status)\n")
      program.forget()
    }
    await shop.close()
  }

  @Test("a table below a process has what descends from it, and nothing else")
  func below() throws {
    let child = Foundation.Process()
    child.executableURL = URL(fileURLWithPath: "/bin/sleep")
    child.arguments = ["100"]
    try child.run()
    defer { child.terminate() }
    let table = ProcessTable(below: getpid())
    let found = table.descendants(of: getpid()).map(\.pid)
    #expect(found.contains(child.processIdentifier) && table.entries[1] == nil)
  }
}
