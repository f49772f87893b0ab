import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// A file whose octets are read when it is opened, and do not change while it is open.
struct SnapshotFile: TreeFile {
  let access: TreeAccess
  let shares: TeamShares
  /// As far as it is known: programs that copy files read no more than that.
  var size: UInt64 = 0
  /// Reads the octets for a caller.
  let load: @Sendable (Caller, @escaping @Sendable (VStore.Outcome<[UInt8]>) -> Void) -> Void

  /// Not of fixed length: each opening may read other octets, as in /proc.
  var attributes: UIOAttributes { [.readable, .randomAccess, .multiBlock] }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    load(opening.caller) { [shares] outcome in
      do throws(Refusal) {
        let octets = try outcome.get()
        let share = try shares.take(octets: octets.count, by: opening.caller.principal)
        opened(.success(SnapshotSession(octets, share)))
      } catch {
        opened(.failure(error))
      }
    }
  }
}

final class SnapshotSession: TreeSession {
  private let octets: [UInt8]
  private let share: TakenShare

  init(_ octets: [UInt8], _ share: TakenShare) {
    self.octets = octets
    self.share = share
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let start = Int(min(position, UInt64(octets.count)))
    call.answer(data: Array(octets[start...].prefix(count)))
  }
}

/// The memory of a program's root process, for users that Linux allows; checked at each read.
struct MemoryFile: TreeFile {
  let program: Program
  let teams: Teams

  var access: TreeAccess { program.access(0o400) }
  var attributes: UIOAttributes { [.readable, .randomAccess, .multiBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(MemorySession(program, teams)))
  }
}

final class MemorySession: TreeSession {
  private let program: Program
  private let teams: Teams

  init(_ program: Program, _ teams: Teams) {
    self.program = program
    self.teams = teams
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    // Its pid may belong to another process by now.
    guard !program.isEnded else {
      _ = call.refuse(Refusal(.noProcess, "it has ended"))
      return
    }
    teams.machine.readMemory(
      ofProcess: program.hosted.pid, at: position, count: count,
      as: teams.onlooker(call.caller, program)
    ) { outcome in
      switch outcome {
      case .success(let octets): call.answer(data: octets)
      // As in /proc, where nothing is mapped.
      case .failure(let refusal) where refusal.code == .outOfRange:
        call.refuse(Refusal(.deviceError, refusal.words))
      case .failure(let refusal): call.refuse(refusal)
      }
    }
  }
}

/// The host's other processes, as last looked up: a listing looks them up again, and a name does if
/// that was long ago.
final class HostProcesses: Sendable {
  private let backplane: any Backplane
  private let machine: any ProgramMachine
  private let state = Mutex<(processes: [Name: Int32], at: Time?)>(([:], nil))

  private static let age = TimeSpan.seconds(1)

  init(_ backplane: any Backplane, _ machine: any ProgramMachine) {
    self.backplane = backplane
    self.machine = machine
  }

  func prepare(isForListing: Bool, _ done: @escaping @Sendable () -> Void) {
    let now = backplane.now
    let isFresh = state.withLock { state in state.at.map { now - $0 < Self.age } ?? false }
    if isFresh && !isForListing { return done() }
    machine.otherProcesses { [self] processes in
      let named = processes.map {
        (Name("\($0.pid).\(ProgramRequest.safe($0.command))"), $0.pid)
      }
      state.withLock { $0 = (Dictionary(named) { $1 }, now) }
      done()
    }
  }

  /// By number.
  var names: [Name] {
    state.withLock { state in state.processes.sorted { $0.value < $1.value }.map(\.key) }
  }

  subscript(name: Name) -> Int32? { state.withLock { $0.processes[name] } }
}
