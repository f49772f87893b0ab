import Foundation
import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

extension Trait where Self == ConditionTrait {
  static var needsRoot: Self {
    .enabled(if: getuid() == 0, "needs root: programs run in namespaces of their own")
  }
}

@Suite("Program", .needsRoot, .timeLimit(.minutes(1)))
struct ProgramTests {
  @Test("all output of both streams is there at the end", arguments: [false, true])
  func wholeOutput(isAttached: Bool) async throws {
    let shop = Workshop()
    // A detached program keeps only a limited output.
    let count = isAttached ? 1_000_000 : 150_000
    let program = try await shop.start("seq \(count) | tee /dev/stderr; exit 7") {
      $0.isAttached = isAttached
    }
    async let out = program.output(.out)
    async let err = program.output(.err)
    let expected = Array((1...count).map { "\($0)\n" }.joined().utf8)
    #expect(await out == expected)
    #expect(await err == expected)
    #expect(await program.ended() == .exited(7))
    #expect(program.endedAt ?? 0 >= program.startedAt)
    #expect(await program.read(at: UInt64(expected.count)) == .end)
    await shop.close(program)
  }

  @Test("an attached program waits at 64 KB unread, and its output is not lost")
  func heldUp() async throws {
    let shop = Workshop()
    let program = try await shop.start("seq 100000; sleep 1000") { $0.isAttached = true }
    let first = await program.read(at: 0, count: 1)
    #expect(first == .octets([UInt8(ascii: "1")], position: 0))
    // It can be killed while it waits, with its pipe full.
    #expect(await program.control(.kill(signal: SIGTERM)) == nil)
    #expect(await program.ended() == .killed(signal: SIGTERM))
    let octets = await program.output()
    #expect(octets.count >= StreamRead.unreadMax)
    let expected = Array((1...100_000).map { "\($0)\n" }.joined().utf8)
    #expect(octets == Array(expected[..<octets.count]))
    await shop.close(program)
  }

  @Test("a detached program never waits, and its last megabyte is kept")
  func detached() async throws {
    let shop = Workshop()
    let program = try await shop.start("seq 1000000")
    #expect(await program.ended() == .exited(0))
    guard case .octets(_, let position) = await program.read(at: 0) else {
      Issue.record("nothing is kept")
      return
    }
    let rest = await program.output(from: position)
    let expected = Array((1...1_000_000).map { "\($0)\n" }.joined().utf8)
    #expect(rest.count >= StreamRead.keptMax && position > 0)
    #expect(rest == Array(expected.suffix(rest.count)))
    await shop.close(program)
  }

  @Test("input is read, and its end is seen")
  func input() async throws {
    let shop = Workshop()
    let program = try await shop.start("wc -c")
    let piece = String(repeating: "x", count: 50_000)
    for _ in 0..<10 { #expect(await program.write(piece) == .ok) }
    program.endInput()
    #expect(await program.text() == "500000\n")
    #expect(await program.write("more") == .brokenPipe)
    await shop.close(program)
  }

  @Test("a write waits until the program reads or ends")
  func fullInput() async throws {
    let shop = Workshop()
    let program = try await shop.start("sleep 1000")
    let piece = [UInt8](repeating: 7, count: 65_536)
    // The pipe takes one write, and the keeper another.
    for _ in 0..<2 {
      #expect(await answer { program.write(piece, at: nil, completion: $0) } == .ok)
    }
    async let last = answer { program.write(piece, at: nil, completion: $0) }
    #expect(await program.control(.kill(signal: SIGKILL)) == nil)
    #expect(await last == .brokenPipe)
    #expect(await program.ended() == .killed(signal: SIGKILL))
    await shop.close(program)
  }

  @Test("a look finds what a read or a write would find, and waits for that if it is to")
  func look() async throws {
    let shop = Workshop()
    let program = try await shop.start("read a; echo $a; read a")
    func look(_ place: ProgramPlace, waits: Bool = false) async -> ProgramLook {
      await answer { program.look(at: place, waits: waits, completion: $0) }
    }
    let start = ProgramPlace.output(.out, from: 0)
    #expect(await look(start) == .busy)
    #expect(await look(.input, waits: true) == .ready)
    let cancelled = await answer { done in
      program.cancel(program.look(at: start, waits: true, completion: done))
    }
    #expect(cancelled == .busy)
    #expect(await program.write("word\n") == .ok)
    #expect(await look(start, waits: true) == .ready)
    #expect(await look(start) == .ready)
    #expect(await program.read(at: 0) == .octets(Array("word\n".utf8), position: 0))
    #expect(await look(.output(.out, from: 5)) == .busy)
    #expect(await program.write("end\n") == .ok)
    #expect(await look(.output(.out, from: 5), waits: true) == .ended)
    await shop.close(program)
    #expect(await look(start, waits: true) == .ended)
    #expect(await look(.input, waits: true) == .ended)
    let full = try await shop.start("sleep 1000")
    let piece = [UInt8](repeating: 7, count: 65_536)
    for _ in 0..<2 { #expect(await answer { full.write(piece, at: nil, completion: $0) } == .ok) }
    let found = await answer { full.look(at: .input, waits: false, completion: $0) }
    #expect(found == .busy)
    await shop.close(full)
  }

  @Test("what cannot be started says why, and leaves nothing")
  func refusals() async throws {
    let shop = Workshop()
    func refusal(_ change: (inout ProgramOrder) -> Void) async -> Refusal? {
      do {
        _ = try await shop.start("", change)
        return nil
      } catch {
        return error as? Refusal
      }
    }
    let missing = await refusal { $0.arguments = [Array("no-such-program".utf8)] }
    #expect(missing == Refusal(.notFound, "no such program: no-such-program"))
    let forbidden = await refusal { $0.arguments = [Array("/etc/passwd".utf8)] }
    #expect(forbidden == Refusal(.noPermission, "/etc/passwd: permission denied"))
    let nobody = await refusal { $0.user = "no-such-user" }
    #expect(nobody == Refusal(.notFound, "no such user: no-such-user"))
    #expect(await refusal { $0.arguments = [] }?.code == .badArguments)
    #expect(await refusal { $0.arguments.append([65, 0, 66]) }?.code == .badArguments)
    let octets = [UInt8](repeating: 65, count: 131_071)
    let tooMany = Refusal(.badArguments, "/bin/sh: too many arguments")
    // A longer argument is too long for Linux, and so are more than three quarters of 8 MB of them.
    #expect(await refusal { $0.arguments.append(octets + [65]) } == tooMany)
    #expect(await refusal { $0.arguments += Array(repeating: octets, count: 50) } == tooMany)
    await shop.close()
  }

  @Test("it has as many arguments as Linux gives a program, and all of them")
  func manyArguments() async throws {
    let shop = Workshop()
    let program = try await shop.start("echo $# ${#9000}; cat /proc/$$/cmdline | wc -c; umask") {
      $0.arguments.append(Array("sh".utf8))
      $0.arguments += (1...100_000).map { Array("\($0)".utf8) }
      $0.arguments += Array(repeating: [UInt8](repeating: 65, count: 100_000), count: 4)
      $0.umask = 0o27
    }
    #expect(await program.text() == "100004 4\n988967\n0027\n")
    await shop.close(program)
  }

  @Test("it runs as its user, among the host's processes, and nothing is open but its streams")
  func surroundings() async throws {
    let shop = Workshop()
    let command = """
      id -un; id -Gn; umask; kill -0 \(getpid()) 2>&1 | grep -o permitted; echo $$
      ls /proc/self/fd | wc -l
      grep -cE 'Sig(Blk|Ign):.0000000000000000' /proc/self/status; echo "$HOME $X"
      ulimit -Sn
      """
    let program = try await shop.start(command) {
      $0.user = "nobody"
      $0.environment = [Array("X=a b".utf8)]
    }
    let lines = await program.text().split(separator: "\n").map(String.init)
    // ls has its directory open as well.
    #expect(
      lines == [
        "nobody", "nogroup", "0022", "permitted", "\(program.pid)", "4", "2", "/nonexistent a b",
        "1024",
      ])
    #expect(await program.text(.err) == "")
    await shop.close(program)
  }

  @Test("it starts in the wanted directory, else at home, else in the root")
  func directories() async throws {
    let shop = Workshop()
    for (asked, user, found) in [
      ("/usr/bin", "root", "/usr/bin"), ("/no/such", "root", "/root"), ("", "root", "/root"),
      ("/root", "nobody", "/"),
    ] {
      let program = try await shop.start("pwd") {
        $0.directory = Array(asked.utf8)
        $0.user = user
      }
      #expect(await program.text() == "\(found)\n")
      #expect(program.directory == Array(found.utf8))
      program.forget()
    }
    await shop.close()
  }

  @Test("signals end it, stop it and let it go on; KILL ends its children too")
  func signals() async throws {
    let shop = Workshop()
    let program = try await shop.start(
      "setsid sleep 1000 & trap 'echo hup' HUP; echo up; wait; wait")
    #expect(await program.text(until: "up").contains("up"))
    #expect(await program.control(.kill(signal: SIGSTOP)) == nil)
    await expect("it is stopped") { program.state == .stopped }
    #expect(await program.control(.kill(signal: SIGCONT)) == nil)
    await expect("it goes on") { program.state == .running }
    #expect(await program.control(.kill(signal: SIGHUP)) == nil)
    #expect(await program.text(until: "hup").contains("hup"))
    #expect(await program.control(.kill(signal: 99))?.code == .badArguments)
    let pids = await answer { program.processes(completion: $0) }
    #expect(pids.count == 2 && pids.contains(program.pid))
    #expect(await program.control(.kill(signal: SIGKILL)) == nil)
    #expect(await program.ended() == .killed(signal: SIGKILL))
    await expect("nothing is left") { program.isEmpty }
    #expect(pids.allSatisfy { !Workshop.isAlive($0) })
    #expect(await program.control(.kill(signal: SIGTERM)) == .ended)
    await shop.close(program)
  }

  @Test(
    "its background processes go on without it, and take its commands",
    arguments: [true, false])
  func background(hasFreezer: Bool) async throws {
    let shop = Workshop { if !hasFreezer { $0.cgroup2 = "" } }
    let program = try await shop.start(
      "setsid sh -c 'echo up; read x; while :; do :; done' & nohup sleep 1000 & read line; exit 5")
    let groups = shop.keepers.flatMap { shop.resources.groups(ofKeeper: $0) }
    #expect(groups.allSatisfy { FileManager.default.fileExists(atPath: $0) })
    #expect(await program.text(until: "up") == "up\n")
    #expect(await program.write("\n") == .ok)
    #expect(await program.ended() == .exited(5))
    // Its output is complete, although others could write to it.
    #expect(await program.read(at: 3) == .end)
    #expect(await program.write("x") == .brokenPipe)
    let left = { await answer { program.processes(completion: $0) } }
    await expect("two are left") { await left().count == 2 }
    #expect(await !left().contains(program.pid) && !program.isEmpty)
    // Its number is given to no other process as long as one of its processes runs.
    #expect(kill(program.pid, 0) == 0)
    #expect(await program.control(.setClass(.background)) == nil)
    #expect(await program.control(.suspend) == nil)
    let time = { await answer { program.usage(completion: $0) }.processorMilliseconds }
    await expect("they do nothing") {
      let before = await time()
      try? await Task.sleep(for: .milliseconds(50))
      return await time() == before
    }
    #expect(await program.control(.resume) == nil && program.state == .exited(5))
    #expect(await program.control(.kill(signal: SIGTERM)) == nil)
    await expect("nothing is left") { program.isEmpty }
    #expect(await left() == [] && program.state == .exited(5))
    #expect(await program.control(.kill(signal: SIGTERM)) == .ended)
    #expect(groups.allSatisfy { !FileManager.default.fileExists(atPath: $0) })
    await shop.close(program)
  }

  @Test("its end is reported at once, though others still write", arguments: [false, true])
  func endsBesideOutput(isAttached: Bool) async throws {
    let shop = Workshop()
    let program = try await shop.start("setsid yes & echo first; sleep 0.1") {
      $0.isAttached = isAttached
    }
    async let output = program.output(until: { $0.count > 1 << 22 })
    #expect(await program.ended() == .exited(0))
    #expect(await output.starts(with: Array("first\n".utf8)) || !isAttached)
    #expect(await !answer { program.processes(completion: $0) }.isEmpty)
    // After forgetting, none of its processes runs.
    await shop.close(program)
  }

  @Test("a suspended program does nothing, with a freezer and without", arguments: [true, false])
  func suspend(hasFreezer: Bool) async throws {
    let shop = Workshop { if !hasFreezer { $0.cgroup2 = "" } }
    let program = try await shop.start("while :; do echo; done")
    #expect(await program.control(.suspend) == nil)
    #expect(program.state == .suspended)
    // Suspending takes effect a moment later; then the processor time stands still.
    let time = { await answer { program.usage(completion: $0) }.processorMilliseconds }
    await expect("it does nothing") {
      let before = await time()
      try? await Task.sleep(for: .milliseconds(50))
      return await time() == before
    }
    #expect(await program.control(.resume) == nil)
    await expect("it runs") { program.state == .running }
    let before = await time()
    await expect("it goes on") { await time() > before }
    // It can be killed while it is suspended.
    #expect(await program.control(.suspend) == nil)
    #expect(await program.control(.kill(signal: SIGKILL)) == nil)
    #expect(await program.ended() == .killed(signal: SIGKILL))
    await shop.close(program)
  }

  @Test("hanging up ends it, even if it ignores the signal")
  func hangUp() async throws {
    let shop = Workshop()
    let tame = try await shop.start("sleep 1000")
    tame.hangUp()
    #expect(await tame.ended() == .killed(signal: SIGHUP))
    let deaf = try await shop.start("trap '' HUP; echo up; sleep 1000")
    #expect(await deaf.text(until: "up") == "up\n")
    deaf.hangUp()
    #expect(await deaf.ended() == .killed(signal: SIGKILL))
    await shop.close(tame, deaf)
  }
}
