import Glibc
import VLinuxPrograms
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
    case .control(let token, let command):
      server.send(.controlled(token: token, control(command)))
    case .hangUp: hangUp()
    case .forget: finish()
    case .start, .program, .refused, .output, .taken, .controlled, .changed:
      // No server sends these now.
      break
    }
  }

  private func hangUp() {
    guard let status, !status.state.isEnd, let program else { return }
    _ = setSuspended(false)
    program.hangUp(root: status.pid)
    killAt = Self.clock + Self.hangUpMilliseconds
  }

  private func control(_ command: ProgramCommand) -> MachineRefusal? {
    guard let status, !status.state.isEnd, let program else { return .ended }
    switch command {
    case .suspend: return failure(setSuspended(true), "cannot suspend it")
    case .resume: return failure(setSuspended(false), "cannot resume it")
    case .kill(signal: SIGKILL):
      program.killAll()
      return nil
    case .kill(let number):
      let error = program.signal(number, root: status.pid)
      if error == -ESRCH { return .ended }
      if error == -EINVAL { return MachineRefusal(.badArguments, "no such signal: \(number)") }
      return failure(error, "cannot signal it")
    case .setClass(let programClass):
      var error = group.setClass(programClass)
      if error == 0 {
        error = program.setClass(programClass, order.resources.mechanism, root: status.pid)
      }
      if error == 0 { self.status?.order.programClass = programClass }
      return failure(error, "cannot change its class")
    case .setSize(let size):
      guard program.hasTerminal else {
        return MachineRefusal(.badArguments, "it has no terminal")
      }
      self.status?.terminal = size
      return failure(program.resize(size), "cannot change the size")
    }
  }

  private func failure(_ error: Int32, _ words: String) -> MachineRefusal? {
    error == 0 ? nil : .system(error, words)
  }

  private func setSuspended(_ isSuspended: Bool) -> Int32 {
    guard isSuspended != self.isSuspended, let program else { return 0 }
    if group.hasFreezer {
      let error = group.setFrozen(isSuspended)
      guard error == 0 else { return error }
    } else {
      program.setStopped(isSuspended)
    }
    self.isSuspended = isSuspended
    noteState()
    return 0
  }
}
