import Glibc
import VProtocol
import VStore

/// What the frames of the server do.
extension Keeper {
  /// A program that is hung up has so long to end by itself.
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
    case .write(let token, let octets):
      if let code = input.handleWrite(token: token, octets) {
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
    case .start, .program, .refused, .output, .taken, .controlled, .changed:
      // No server sends these now.
      break
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

  /// Ends what was hung up and did not end by itself.
  func killHungUp() {
    if let status, let program { _ = program.end(root: status.pid, userRights) }
  }

  private var userRights: SignalRights { .user(uid: order.uid, gid: order.gid) }

  private func control(_ command: ProgramCommand, _ rights: SignalRights) -> Refusal? {
    guard let status, !status.state.isEnd, let program else { return .ended }
    switch command {
    case .suspend: return failure(setSuspended(true, rights), "cannot suspend it")
    case .resume: return failure(setSuspended(false, rights), "cannot resume it")
    case .kill(signal: SIGKILL):
      return failure(program.end(root: status.pid, rights), "cannot kill it")
    case .kill(let number):
      let error = program.signal(number, root: status.pid, rights)
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

  /// The processes that are suspended, and have a class, together: all but process 1.
  private var members: [Int32] {
    guard let program else { return [] }
    let descendants = ProcessTable().descendants(of: program.initPid).map(\.pid)
    return Set(descendants + group.members).filter { $0 != program.initPid }
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
      // One may have become another's meanwhile.
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
    program?.setStopped(isStanding)
    return 0
  }
}
