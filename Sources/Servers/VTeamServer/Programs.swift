import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// The programs of the team server: running ones, and ended ones that are still shown.
final class Programs: Sendable {
  private struct State: Sendable {
    var programs: [Int32: Program] = [:]
    /// Detached programs of each starter that have ended, in that order.
    var ended: [String: [Program]] = [:]
  }

  private let backplane: any Backplane
  /// Handles a message to a program's entity.
  private let serve: @Sendable (Program, Request) -> Void
  private let ended: @Sendable (Program) -> Void
  private let state = Mutex(State())

  /// A detached program is shown until so many of the same starter have ended after it, or for so
  /// long.
  static let endedMax = 64
  private static let endedAge = TimeSpan.seconds(3600)
  /// How long an attached program that was found after a restart waits for a follower.
  static let recoveryAge = TimeSpan.seconds(10)

  init(
    _ backplane: any Backplane, serve: @escaping @Sendable (Program, Request) -> Void,
    ended: @escaping @Sendable (Program) -> Void
  ) {
    self.backplane = backplane
    self.serve = serve
    self.ended = ended
  }

  /// By number.
  var all: [Program] {
    state.withLock { $0.programs.values.sorted { $0.hosted.pid < $1.hosted.pid } }
  }

  subscript(name: Name) -> Program? {
    let number = String(decoding: name.octets.prefix { $0 != UInt8(ascii: ".") }, as: UTF8.self)
    guard let pid = Int32(number) else { return nil }
    let program = state.withLock { $0.programs[pid] }
    return program?.name == name ? program : nil
  }

  subscript(entity: EntityID) -> Program? {
    state.withLock { state in state.programs.values.first { $0.entity == entity } }
  }

  /// Running programs that are not suspended.
  var busyCount: Int { all.count { $0.hosted.state == .running } }

  /// Adds a program; an attached one is held by its starter, whose instance must be released.
  ///
  /// It keeps `share` until it is forgotten.
  func add(
    _ hosted: any HostedProgram, owner: String, _ share: TakenShare?, isRecovered: Bool
  ) -> Program {
    let own = LateBound<Program>()
    let entity = backplane.makeServer(knowsPrincipals: true) { [backplane, serve] request in
      guard let program = own.object else {
        return backplane.refuse(.nonexistentEntity, request)
      }
      serve(program, request)
    }
    let program = Program(
      hosted, owner: owner, entity: entity, share, isRecovered: isRecovered)
    own.bind(program)
    // The number is Linux's, which gives it again only when the process before has ended.
    let before = state.withLock { $0.programs.updateValue(program, forKey: hosted.pid) }
    if let before { forget(before) }
    hosted.observe { [weak self, weak program] change in
      guard let self, let program else { return }
      if change == .empty { ended(program) }
      perform(program.handle(change), program)
    }
    if hosted.state.isEnd { perform(program.handle(.state(hosted.state)), program) }
    if hosted.isEmpty { perform(program.handle(.empty), program) }
    if isRecovered && hosted.order.isAttached {
      perform(program.waitForFollowers(), program)
    }
    return program
  }

  func perform(_ next: Program.Next, _ program: Program) {
    switch next {
    case .nothing: break
    case .hangUp: program.hosted.hangUp()
    case .forget: forget(program)
    case .keepForAWhile: keep(program)
    case .wait(let span, let loss):
      backplane.after(span) { [weak self, weak program] in
        guard let self, let program else { return }
        perform(program.giveUp(loss: loss), program)
      }
    }
  }

  private func keep(_ program: Program) {
    let starter = program.hosted.order.starter
    let oldest = state.withLock { state in
      state.ended[starter, default: []].append(program)
      let count = state.ended[starter]?.count ?? 0
      return count > Self.endedMax ? state.ended[starter]?.removeFirst() : nil
    }
    if let oldest { forget(oldest) }
    backplane.after(Self.endedAge) { [weak self, weak program] in
      guard let self, let program else { return }
      forget(program)
    }
  }

  /// Ends a program, if it runs, and drops all data about it.
  func forget(_ program: Program) {
    let starter = program.hosted.order.starter
    state.withLock { state in
      state.ended[starter]?.removeAll { $0 === program }
      if state.ended[starter]?.isEmpty == true { state.ended[starter] = nil }
      if state.programs[program.hosted.pid] === program {
        state.programs[program.hosted.pid] = nil
      }
    }
    // An entity ends only once: the number may belong to another one later.
    guard program.beginForgetting() else { return }
    program.hosted.forget()
    backplane.retire(program.entity)
  }
}
