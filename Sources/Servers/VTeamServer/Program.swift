import Synchronization
import VObjects
import VProtocol
import VStore

/// A program of the table: what the machine holds of it, who waits for it, and who holds it.
///
/// An attached program is held by its starter's instance of `new`. Where that is lost, by a restart
/// of the server or because the starter's host is silent, it is held by whoever reads its output or
/// waits for its end; for some time by nobody.
final class Program: Sendable {
  /// What is to be done with it after a change.
  enum Next: Equatable {
    case nothing, hangUp, forget, keepForAWhile
    /// `giveUp` is to be called when it was without anybody for so long.
    case wait(TimeSpan, loss: Int)
  }

  /// How an instance ended.
  enum Departure {
    case released
    /// Its owner's host was silent, and may be heard again.
    case silent
  }

  private struct State: Sendable {
    var holders: Int
    /// Instances of its user that read its output or wait for its end.
    var followers = 0
    /// The starter's instance is lost, and how often that or a follower was.
    var isLost: Bool
    var losses = 0
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
      State(
        holders: isRecovered ? 0 : 1, isLost: isRecovered, isGivenUp: !isRecovered, share: share))
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

  /// Whoever reads of one whose starter is lost keeps it, if it is theirs; whether that is so.
  ///
  /// A stranger, and root who only looks, would end it with their release.
  func follow(for caller: Caller) -> Bool {
    guard hosted.order.isAttached, isOf(caller) else { return false }
    state.withLock { $0.followers += 1 }
    return true
  }

  func unfollow(_ departure: Departure) -> Next {
    state.withLock { state in
      state.followers -= 1
      guard state.isLost, state.holders == 0, state.followers == 0 else { return .nothing }
      return departure == .silent ? wait(&state) : Self.next(&state)
    }
  }

  /// The starter's instance of `new` has ended.
  func release(_ departure: Departure) -> Next {
    guard hosted.order.isAttached else { return .nothing }
    return state.withLock { state in
      state.holders -= 1
      guard departure == .silent && hosted.order.waitSeconds > 0 else { return Self.next(&state) }
      state.isLost = true
      return wait(&state)
    }
  }

  /// One that was found again waits for somebody who follows it.
  func waitForFollowers() -> Next { state.withLock { wait(&$0) } }

  private func wait(_ state: inout State) -> Next {
    state.isGivenUp = false
    state.losses += 1
    let seconds = Int64(hosted.order.waitSeconds)
    let span = isRecovered ? max(Programs.recoveryAge, .seconds(seconds)) : .seconds(seconds)
    return .wait(span, loss: state.losses)
  }

  /// It has waited for followers since a loss: it has some now, or gets none.
  func giveUp(loss: Int) -> Next {
    state.withLock { state in
      guard loss == state.losses, state.followers == 0 else { return .nothing }
      return Self.next(&state)
    }
  }

  private static func next(_ state: inout State) -> Next {
    if state.holders > 0 { return .nothing }
    state.isGivenUp = true
    // What is left behind is not hung up, and is there until it ends.
    return state.isEmpty ? .forget : state.isEnded ? .nothing : .hangUp
  }

  /// It has joined a group or left one: that is kept for the next server.
  func note(_ change: ChangeGroup.Change, _ group: Name) {
    let groups = state.withLock { state in
      switch change {
      case .join: state.groups.insert(group)
      case .leave, .remove: state.groups.remove(group)
      }
      return state.groups
    }
    hosted.note(groups: groups.sorted())
  }

  var groups: Set<Name> { state.withLock { $0.groups } }

  func addInput() { state.withLock { $0.inputs += 1 } }

  /// The last writer's release is the end of the input; not its loss, where it may come again.
  func removeInput(_ departure: Departure) {
    let isLast = state.withLock { state in
      state.inputs -= 1
      return state.inputs == 0
    }
    let mayComeAgain = departure == .silent && hosted.order.waitSeconds > 0
    if isLast && !mayComeAgain && hosted.order.terminal == nil { hosted.endInput() }
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
      "directory \(String(decoding: hosted.directory, as: UTF8.self))",
    ]
    if !order.directory.isEmpty && order.directory != hosted.directory {
      lines.append("asked \(String(decoding: order.directory, as: UTF8.self))")
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
    return lines.map { $0.inLine() + "\n" }.joined()
  }
}
