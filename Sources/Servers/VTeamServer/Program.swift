import Synchronization
import VObjects
import VProtocol
import VStore

/// A program of the table: the machine's program, the requests that wait for it, and its holders.
///
/// An attached program is held by its starter's instance of `new`. If that is lost, by a restart of
/// the server or because the starter's host is silent, it is held by the instances that read its
/// output or wait for its end, and for a limited time by none.
final class Program: Sendable {
  /// What must be done with it after a change.
  enum Next: Equatable {
    case nothing, hangUp, forget, keepForAWhile
    /// Call `giveUp` when it has had no holder for so long.
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
    /// Whether the starter's instance is lost; counts the losses of it and of followers.
    var isLost: Bool
    var losses = 0
    /// Whether no holder can come any more once all are gone.
    var isGivenUp: Bool
    var isEnded = false
    /// Whether the processes that it left behind have ended too.
    var isEmpty = false
    var isForgotten = false
    /// Its part of its starter's share, until it is forgotten.
    var share: TakenShare?
    var inputs = 0
    /// As the group server reported.
    var groups: Set<Name> = []
    var watchers: [ObjectIdentifier: StateSession] = [:]
    var usage = ProgramUsage(processorMilliseconds: 0, memoryKilobytes: 0, processCount: 0)
  }

  let hosted: any HostedProgram
  /// `NUMBER.PROGRAM`.
  let name: Name
  /// The owner of its files.
  let owner: String
  let entity: EntityID
  /// Whether it was found after a restart: its starter's instance is lost.
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

  /// Gives back its share; false if it was forgotten before.
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
  /// Handles a change that the machine reports; an end that is reported twice counts once.
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

  /// Reports every later change to a session; returns whether there will be none.
  func watch(_ session: StateSession) -> Bool {
    state.withLock { state in
      if !state.isEnded { state.watchers[ObjectIdentifier(session)] = session }
      return state.isEnded
    }
  }

  func unwatch(_ session: StateSession) {
    state.withLock { $0.watchers[ObjectIdentifier(session)] = nil }
  }

  /// Counts an instance of its user as a holder, if its starter's is lost; returns whether it does.
  ///
  /// Other users, and root, do not count: the release of their instances would end the program.
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

  /// Makes a program that was found after a restart wait for a follower.
  func waitForFollowers() -> Next { state.withLock { wait(&$0) } }

  private func wait(_ state: inout State) -> Next {
    state.isGivenUp = false
    state.losses += 1
    let seconds = Int64(hosted.order.waitSeconds)
    let span = isRecovered ? max(Programs.recoveryAge, .seconds(seconds)) : .seconds(seconds)
    return .wait(span, loss: state.losses)
  }

  /// The time without followers after a loss is over: it has one now, or will get none.
  func giveUp(loss: Int) -> Next {
    state.withLock { state in
      guard loss == state.losses, state.followers == 0 else { return .nothing }
      return Self.next(&state)
    }
  }

  private static func next(_ state: inout State) -> Next {
    if state.holders > 0 { return .nothing }
    state.isGivenUp = true
    // Processes left behind are not hung up, and the program is shown until they end.
    return state.isEmpty ? .forget : state.isEnded ? .nothing : .hangUp
  }

  /// Notes that it has joined a group or left one, for the next server.
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

  /// The last writer's release ends the input; its loss does not, if the writer may come back.
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
