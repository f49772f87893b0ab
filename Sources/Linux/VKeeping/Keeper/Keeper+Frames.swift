import Glibc
import VProtocol
import VStore

/// Carries out the frames of the server.
extension Keeper {
  /// How long a program that is hung up may take to end.
  private static let hangUpMilliseconds: Int64 = 2000

  func carryOut(_ frame: KeeperFrame, _ server: ServerChannel) {
    switch frame {
    case .read(let token, let stream, let position, let count):
      let count = min(Int(count), KeeperFrame.dataBytesMax)
      let isTaken =
        stream == .out
        ? out.handleRead(token: token, position: position, count: count)
        : err.handleRead(token: token, position: position, count: count)
      if !isTaken { server.send(.output(token: token, .cancelled)) }
    case .cancel(let token):
      if !out.handleCancel(token: token) { _ = err.handleCancel(token: token) }
      looks.cancel(token: token)
    case .look(let token, let place, let waits):
      if !waits || !looks.add(token: token, place) {
        server.send(.looked(token: token, look(at: place)))
      }
    case .write(let token, let position, let octets):
      if let code = input.handleWrite(token: token, at: position, octets) {
        server.send(.taken(token: token, code))
      }
      writeInput()
    case .endInput:
      if program?.hasTerminal == false { input.handleEnd() }
      writeInput()
    case .control(let token, let command, let asUser):
      server.send(.controlled(token: token, control(command, asUser ? userRights : .root)))
    case .hangUp: hangUp()
    case .forget: finish()
    case .noteGroups(let groups): status?.groups = groups
    case .start, .program, .refused, .output, .taken, .looked, .controlled, .changed, .emptied:
      // No server sends these now.
      break
    }
  }

  func look(at place: ProgramPlace) -> ProgramLook {
    switch place {
    case .output(.out, let position): out.look(at: position)
    case .output(.err, let position): err.look(at: position)
    case .input: input.look
    }
  }

  /// The starter is gone, so this is done with the rights of the program's user: what has become
  /// another's goes on.
  private func hangUp() {
    guard let status, !status.state.isEnd, let program else { return }
    _ = setSuspended(false, userRights)
    program.hangUp(root: status.pid, userRights)
    killAt = Self.clock + Self.hangUpMilliseconds
  }

  /// Kills what was hung up and has not ended; processes that the program put into the background
  /// go on.
  func killHungUp() {
    guard let status, !status.state.isEnd, let program else { return }
    _ = setSuspended(false, userRights)
    for target in [program.foreground, status.pid] where target > 0 {
      _ = userRights.send(SIGKILL, to: [-target])
    }
  }

  private var userRights: SignalRights { .user(uid: order.uid, gid: order.gid) }

  private func control(_ command: ProgramCommand, _ rights: SignalRights) -> Refusal? {
    guard let status, !status.isEmpty, let program else { return .ended }
    switch command {
    case .suspend: return failure(setSuspended(true, rights), "cannot suspend it")
    case .resume: return failure(setSuspended(false, rights), "cannot resume it")
    case .kill(signal: SIGKILL):
      return failure(end(rights), "cannot kill it")
    case .kill(let number):
      let error =
        status.state.isEnd
        ? rights.send(number, to: members) : program.signal(number, root: status.pid, rights)
      if error == -ESRCH { return .ended }
      if error == -EINVAL { return Refusal(.badArguments, "no such signal: \(number)") }
      return failure(error, "cannot signal it")
    case .setClass(let programClass):
      return failure(setClass(programClass, rights), "cannot change its class")
    case .setSize(let size):
      guard program.hasTerminal else {
        return Refusal(.badArguments, "it has no terminal")
      }
      self.status?.terminal = size
      return failure(program.resize(size), "cannot change the size")
    }
  }

  /// Kills all processes that `rights` allows.
  private func end(_ rights: SignalRights) -> Int32 {
    guard let status else { return -ESRCH }
    if !rights.isRoot {
      let error = rights.send(SIGKILL, to: status.state.isEnd ? members : [status.pid])
      guard error == 0 || error == -ESRCH else { return error }
      // At once, including suspended processes; unless one has become another user's.
      guard rights.check(members) == 0 else {
        for pid in members { _ = rights.send(SIGKILL, to: [pid]) }
        return 0
      }
    }
    killAll()
    return 0
  }

  /// Kills all processes, including suspended ones.
  func killAll() {
    _ = group.kill()
    // Root may have moved some out of the cgroup.
    forEachMember { kill($0, SIGKILL) }
  }

  /// Calls `body` with each process, including those that are started meanwhile.
  private func forEachMember(_ body: (Int32) -> Void) {
    var known: Set<Int32> = []
    for _ in 0..<Self.passesMax {
      let new = members.filter { !known.contains($0) }
      if new.isEmpty { return }
      for pid in new { body(pid) }
      known.formUnion(new)
    }
  }

  /// A program that starts processes faster than this needs the freezer.
  private static let passesMax = 100

  private func setClass(_ programClass: ProgramClass, _ rights: SignalRights) -> Int32 {
    guard let status, let program else { return -ESRCH }
    var error = rights.check(members)
    if error == 0 { error = group.setClass(programClass) }
    if error == 0 {
      error = program.setClass(programClass, order.resources.mechanism, root: status.pid)
    }
    if error == 0 { self.status?.order.programClass = programClass }
    return error
  }

  /// The processes that are suspended together and have a class: all but the supervisor.
  private var members: [Int32] {
    guard let program, program.death >= 0 else { return [] }
    let descendants = ProcessTable().descendants(of: program.initPid).map(\.pid)
    return Array(Set(descendants + group.members))
  }

  private func failure(_ error: Int32, _ words: String) -> Refusal? {
    if error == -EPERM {
      return Refusal(.notOwner, "\(words): it runs with other rights than \(order.program.user)'s")
    }
    return error == 0 ? nil : .system(error, words)
  }

  private func setSuspended(_ isSuspended: Bool, _ rights: SignalRights) -> Int32 {
    guard isSuspended != self.isSuspended else { return 0 }
    var error = rights.check(members)
    if error == 0 { error = setStanding(isSuspended) }
    guard error == 0 else { return error }
    if isSuspended {
      // One may have become another user's meanwhile.
      error = rights.check(members)
      if error != 0 {
        _ = setStanding(false)
        return error
      }
    }
    self.isSuspended = isSuspended
    noteState()
    return 0
  }

  private func setStanding(_ isStanding: Bool) -> Int32 {
    if group.hasFreezer { return group.setFrozen(isStanding) }
    forEachMember { kill($0, isStanding ? SIGSTOP : SIGCONT) }
    return 0
  }
}
