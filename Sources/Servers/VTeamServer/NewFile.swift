import Synchronization
import VObjects
import VProtocol
import VStore

/// `new`: a request that is written to it is started, and the program's name is read back.
struct NewFile: TreeFile {
  let teams: Teams

  var access: TreeAccess { TreeAccess(permissions: 0o666) }
  var attributes: UIOAttributes { [.readable, .writeable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(NewSession(teams, opening.caller.principal)))
  }
}

/// An instance of `new`; it holds the attached programs that were started through it.
final class NewSession: TreeSession {
  private struct State: Sendable {
    /// The part that has come of a request with a length, or without its command yet.
    var gathered: [UInt8] = []
    /// The memory for that request, from the user's share.
    var share: TakenShare?
    var length: Int?
    var fault: Refusal?
    /// What will be read: names, or the reason of a refusal.
    var answers: [UInt8] = []
    var hasWritten = false
    var held: [Program] = []
    var isClosed = false
  }

  private let teams: Teams
  private let principal: Principal
  private let state = Mutex(State())

  private static let file: Name = "new"

  init(_ teams: Teams, _ principal: Principal) {
    self.teams = teams
    self.principal = principal
  }

  /// If no request was written before, it reads the reason of this user's last refusal.
  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let octets = state.withLock { state in
      if !state.hasWritten {
        state.hasWritten = true
        state.answers = Array(teams.refusals.withLock { $0.text(Self.file, principal) }.utf8)
      }
      let octets = Array(state.answers.prefix(count))
      state.answers.removeFirst(octets.count)
      return octets
    }
    call.answer(data: octets)
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    do throws(Refusal) {
      guard let whole = try gather(data) else {
        _ = call.answer(count: data.count)
        return
      }
      // Before it is parsed, which takes more memory than its octets.
      let share = try teams.shares.take(
        programs: 1, octets: ProgramRequest.footprint(whole), by: principal)
      start(try ProgramRequest(parsing: whole), share, data.count, call)
    } catch {
      refuse(error, call)
    }
  }

  func close() { end(.released) }
  func lose() { end(.silent) }

  private func end(_ departure: Program.Departure) {
    let (held, isUnfinished) = state.withLock { state in
      state.isClosed = true
      state.share = nil
      return (state.held, !state.gathered.isEmpty && state.fault == nil)
    }
    if isUnfinished {
      let refusal = Refusal(.badArguments, "the request was not finished")
      teams.refusals.withLock { $0.note(refusal, Self.file, principal) }
    }
    for program in held { release(program, departure) }
  }

  private func release(_ program: Program, _ departure: Program.Departure = .released) {
    teams.programs.perform(program.release(departure), program)
  }

  /// Adds the written octets to earlier ones; nil as long as more must come.
  ///
  /// If a part is refused, so are all later parts.
  private func gather(_ data: [UInt8]) throws(Refusal) -> [UInt8]? {
    let result = state.withLock { state -> Result<[UInt8]?, Refusal> in
      state.hasWritten = true
      state.answers = []
      if let fault = state.fault { return .failure(fault) }
      do throws(Refusal) {
        if state.share == nil {
          let octets = try ProgramRequest.length(data) ?? ProgramRequest.unsaidOctetsMax
          state.share = try teams.shares.take(octets: octets, by: principal)
        }
        let whole = try Self.gather(data, &state)
        if whole != nil { state.share = nil }
        return .success(whole)
      } catch {
        state.fault = error
        state.gathered = []
        state.share = nil
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static func gather(_ data: [UInt8], _ state: inout State) throws(Refusal) -> [UInt8]? {
    if state.gathered.isEmpty {
      state.length = try ProgramRequest.length(data)
    }
    state.gathered += data
    // It may be the first part of a longer write, which Linux splits. The headers of a request that
    // is written line by line are parsed seldom enough to cost little.
    guard state.length != nil || state.gathered.count < ProgramRequest.unsaidOctetsMax else {
      throw Refusal(.badArguments, lengthWords)
    }
    if let length = state.length {
      if state.gathered.count < length { return nil }
      guard state.gathered.count == length else {
        throw Refusal(.badArguments, "length: \(length), but there is more")
      }
    } else if try ProgramRequest.isUnfinished(state.gathered) {
      return nil
    }
    defer { state.gathered = [] }
    return state.gathered
  }

  private static let lengthWords =
    "a request of \(ProgramRequest.unsaidOctetsMax) octets or more begins with a line "
    + "\"length: OCTETS\""

  private func start(
    _ request: ProgramRequest, _ share: TakenShare, _ count: Int, _ call: TreeCall
  ) {
    teams.start(request, share, for: principal) { [self] result in
      switch result {
      case .failure(let refusal): refuse(refusal, call)
      case .success(let program):
        let isClosed = state.withLock { state in
          state.answers += Array("\(program.name)\n".utf8)
          if program.hosted.order.isAttached && !state.isClosed { state.held.append(program) }
          return state.isClosed
        }
        teams.refusals.withLock { $0.note(nil, Self.file, principal) }
        // A client that was told that it was interrupted must have started nothing.
        if !call.answer(count: count) { teams.takeBack(program) { _ in } }
        if isClosed { release(program) }
      }
    }
  }

  private func refuse(_ refusal: Refusal, _ call: TreeCall) {
    teams.refusals.withLock { $0.note(refusal, Self.file, principal) }
    let text = teams.refusals.withLock { $0.text(Self.file, principal) }
    state.withLock { $0.answers = Array(text.utf8) }
    call.refuse(refusal)
  }
}
