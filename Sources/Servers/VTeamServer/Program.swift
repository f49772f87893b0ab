import Synchronization
import VObjects
import VProtocol
import VStore

/// A program of the table: what the machine holds of it, who waits for it, and who holds it.
///
/// An attached program is held: by its starter's instance of `new`, and after a restart of the
/// server, which ends that instance, by whoever reads its output or waits for its end.
final class Program: Sendable {
  /// What is to be done with it after a change.
  enum Next { case nothing, hangUp, forget, keepForAWhile }

  private struct State: Sendable {
    var holders: Int
    /// Nobody will come any more once all holders are gone.
    var isGivenUp: Bool
    var isEnded = false
    /// Nor is there anything that it left behind.
    var isEmpty = false
    var isForgotten = false
    /// What it takes of its starter's share, until it is forgotten.
    var share: TakenShare?
    var inputs = 0
    /// As the group board says.
    var groups: Set<Name> = []
    var watchers: [ObjectIdentifier: StateSession] = [:]
    var usage = ProgramUsage(processorMilliseconds: 0, memoryKilobytes: 0, processCount: 0)
  }

  let hosted: any HostedProgram
  /// `NUMBER.PROGRAM`.
  let name: Name
  /// To whom its files belong.
  let owner: String
  let entity: EntityID
  /// Found again: its starter has lost it.
  let isRecovered: Bool
  private let state: Mutex<State>

  init(
    _ hosted: any HostedProgram, owner: String, entity: EntityID, _ share: TakenShare?,
    isRecovered: Bool
  ) {
    self.hosted = hosted
    self.owner = owner
    self.entity = entity
    self.isRecovered = isRecovered
    name = Name("\(hosted.pid).\(hosted.order.name)")
    state = Mutex(
      State(holders: isRecovered ? 0 : 1, isGivenUp: !isRecovered, share: share))
  }

  func access(_ permissions: UInt32) -> TreeAccess {
    TreeAccess(
      owner: owner, permissions: permissions,
      generation: UInt64(bitPattern: hosted.startedAt), modified: hosted.startedAt)
  }

  var isEnded: Bool { state.withLock { $0.isEnded } }
  var isEmpty: Bool { state.withLock { $0.isEmpty } }

  func isOf(_ caller: Caller) -> Bool { caller.user == owner }

  /// Gives its share back; whether nobody has forgotten it before.
  func beginForgetting() -> Bool {
    let (isFirst, share) = state.withLock { state in
      defer { state.isForgotten = true }
      return (!state.isForgotten, state.share.take())
    }
    withExtendedLifetime(share) {}
    return isFirst
  }
}

// MARK: - Changes

extension Program {
  /// What the machine tells of; told twice, an end is one.
  func handle(_ change: ProgramChange) -> Next {
    switch change {
    case .state(let new):
      let watchers = state.withLock { state -> [StateSession] in
        guard !state.isEnded else { return [] }
        state.isEnded = new.isEnd
        return Array(state.watchers.values)
      }
      for watcher in watchers { watcher.note(new) }
      return .nothing
    case .empty:
      return state.withLock { state in
        guard !state.isEmpty else { return .nothing }
        state.isEmpty = true
        if !hosted.order.isAttached { return .keepForAWhile }
        return state.holders == 0 && state.isGivenUp ? .forget : .nothing
      }
    }
  }

  /// Tells a session of every change from now on; whether there is none to come.
  func watch(_ session: StateSession) -> Bool {
    state.withLock { state in
      if !state.isEnded { state.watchers[ObjectIdentifier(session)] = session }
      return state.isEnded
    }
  }

  func unwatch(_ session: StateSession) {
    state.withLock { $0.watchers[ObjectIdentifier(session)] = nil }
  }

  /// Whoever reads of one that was found again keeps it, if it is theirs; whether that is so.
  ///
  /// A stranger, and root who only looks, would end it with their release.
  func hold(for caller: Caller) -> Bool {
    guard hosted.order.isAttached, isRecovered, isOf(caller) else { return false }
    state.withLock { $0.holders += 1 }
    return true
  }

  func release() -> Next {
    guard hosted.order.isAttached else { return .nothing }
    return state.withLock { state in
      state.holders -= 1
      return Self.next(&state)
    }
  }

  /// One that was found again is held by somebody now, or never.
  func giveUp() -> Next { state.withLock { Self.next(&$0) } }

  private static func next(_ state: inout State) -> Next {
    if state.holders > 0 { return .nothing }
    state.isGivenUp = true
    // What is left behind is not hung up, and is there until it ends.
    return state.isEmpty ? .forget : state.isEnded ? .nothing : .hangUp
  }

  func note(_ change: ChangeGroup.Change, _ group: Name) {
    state.withLock { state in
      switch change {
      case .join: state.groups.insert(group)
      case .leave, .remove: state.groups.remove(group)
      }
    }
  }

  var groups: Set<Name> { state.withLock { $0.groups } }

  func addInput() { state.withLock { $0.inputs += 1 } }

  /// The last writer's release is the end of the input.
  func removeInput() {
    let isLast = state.withLock { state in
      state.inputs -= 1
      return state.inputs == 0
    }
    if isLast && hosted.order.terminal == nil { hosted.endInput() }
  }
}

// MARK: - Texts

extension Program {
  func refreshUsage(_ done: @escaping @Sendable () -> Void) {
    hosted.usage { [self] usage in
      state.withLock { $0.usage = usage }
      done()
    }
  }

  var statusText: String {
    let order = hosted.order
    let usage = state.withLock { $0.usage }
    var lines = [
      "name \(name)", "entity \(entity)", "owner \(order.starter)", "user \(order.user)",
      "class \(order.programClass.rawValue)", "state \(hosted.state)",
      "directory \(Self.line(hosted.directory))",
    ]
    if !order.directory.isEmpty && order.directory != hosted.directory {
      lines.append("asked \(Self.line(order.directory))")
    }
    lines.append("started \(timeText(hosted.startedAt))")
    if let endedAt = hosted.endedAt { lines.append("ended \(timeText(endedAt))") }
    lines += [
      "cpu_ms \(usage.processorMilliseconds)", "memory_kb \(usage.memoryKilobytes)",
      "processes \(usage.processCount)",
    ]
    if let size = hosted.terminal { lines.append("terminal \(size.text)") }
    lines.append("attached \(order.isAttached ? "yes" : "no")")
    let groups = groups.sorted().map { "\($0)" }
    if !groups.isEmpty { lines.append("groups \(groups.joined(separator: " "))") }
    return lines.map { $0 + "\n" }.joined()
  }

  /// A path can have newlines, a line of text not.
  private static func line(_ path: [UInt8]) -> String {
    String(decoding: path.map { $0 == UInt8(ascii: "\n") ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
  }
}
