import Foundation
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

/// A user can do to her program what Linux lets her do to its processes; the keeper, which is root,
/// adds no rights.
@Suite("Rights over a program", .needsRoot, .timeLimit(.minutes(1)))
struct RightsTests {
  private static let ann = "daemon"
  /// Commands for all of a program.
  private static let commands: [ProgramCommand] = [
    .kill(signal: SIGTERM), .kill(signal: SIGKILL), .suspend, .setClass(.guest),
  ]

  /// Starts `command` as ann; `$ROOT` in it runs what follows as root, as a set-user program does:
  /// only once, so that no other program can use it.
  private func start(_ shop: Workshop, _ command: String) async throws -> any HostedProgram {
    let path = "/var/tmp/v-root-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    let copy = try await shop.start(
      "cp /usr/bin/setpriv \(path) && chgrp \(Self.ann) \(path) && chmod 4710 \(path)")
    #expect(await copy.ended() == .exited(0))
    copy.forget()
    let root = "\(path) --reuid=0 --regid=0 --clear-groups sh -c 'rm \(path); exec \"$@\"' sh"
    return try await shop.start(command.replacingOccurrences(of: "$ROOT", with: root)) {
      $0.user = Self.ann
    }
  }

  private static func isRoot(_ pid: Int32) -> Bool {
    let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    return status?.contains("\nUid:\t0\t0\t0\t0\n") == true
  }

  private static func name(_ pid: Int32) -> String {
    (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? ""
  }

  @Test(
    "a process that became root's takes no command of hers and is not hung up, but takes root's",
    arguments: [true, false])
  func setUser(hasFreezer: Bool) async throws {
    let shop = Workshop { if !hasFreezer { $0.cgroup2 = "" } }
    let program = try await start(shop, "exec $ROOT sleep 1000")
    await expect("it is root's") {
      Self.isRoot(program.pid) && Self.name(program.pid) == "sleep\n"
    }
    for command in Self.commands {
      #expect(await program.control(command)?.code == .notOwner, "\(command)")
      #expect(program.state == .running && program.order.programClass == .foreground)
    }
    program.hangUp()
    // The keeper works in order: by now it has been hung up.
    #expect(await program.control(.suspend)?.code == .notOwner)
    #expect(program.state == .running && Workshop.isAlive(program.pid))
    #expect(await program.control(.suspend, asUser: false) == nil)
    #expect(program.state == .suspended)
    #expect(await program.control(.resume)?.code == .notOwner)
    #expect(await program.control(.resume, asUser: false) == nil)
    #expect(await program.control(.setClass(.guest), asUser: false) == nil)
    #expect(await program.control(.kill(signal: SIGTERM), asUser: false) == nil)
    #expect(await program.ended() == .killed(signal: SIGTERM))
    await shop.close(program)
  }

  @Test("a child that has become root's is not suspended with her program, nor signalled")
  func child() async throws {
    let shop = Workshop()
    let program = try await start(shop, "trap 'echo usr' USR1; $ROOT sleep 1000 & echo; wait; wait")
    let others: () async -> [Int32] = {
      await answer { program.processes(completion: $0) }.filter { $0 != program.pid }
    }
    await expect("the child is root's") {
      let pids = await others()
      return pids.count == 1 && Self.isRoot(pids[0]) && Self.name(pids[0]) == "sleep\n"
    }
    let child = try #require(await others().first)
    #expect(await program.control(.suspend)?.code == .notOwner)
    #expect(await program.control(.setClass(.background))?.code == .notOwner)
    #expect(program.state == .running)
    // Both are in one process group; Linux signals those that she may signal.
    #expect(await program.control(.kill(signal: SIGUSR1)) == nil)
    #expect(await program.text(until: "usr").contains("usr"))
    #expect(Workshop.isAlive(child))
    await shop.close(program)
  }

  @Test("her own program takes her commands, and so does root's its own", arguments: [ann, "root"])
  func own(user: String) async throws {
    let shop = Workshop()
    let program = try await shop.start("sleep 1000 & wait") { $0.user = user }
    #expect(await program.control(.suspend) == nil && program.state == .suspended)
    #expect(await program.control(.resume) == nil && program.state == .running)
    #expect(await program.control(.setClass(.background)) == nil)
    #expect(await program.control(.kill(signal: SIGKILL)) == nil)
    #expect(await program.ended() == .killed(signal: SIGKILL))
    await shop.close(program)
  }
}
