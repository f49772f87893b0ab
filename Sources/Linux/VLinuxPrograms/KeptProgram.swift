import Glibc
import Synchronization
import VKeeping
import VProtocol
import VRuntime
import VStore

/// A program with its keeper, as the team server sees it.
final class KeptProgram: HostedProgram {
  private struct State: ~Copyable {
    var status: KeptStatus
    var observer: (@Sendable (ProgramChange) -> Void)?
    var reads: [UInt32: @Sendable (StreamRead) -> Void] = [:]
    var writes: [UInt32: @Sendable (ReplyCode) -> Void] = [:]
    var controls: [UInt32: Control] = [:]
    var looks: [UInt32: @Sendable (ProgramLook) -> Void] = [:]
    var nextToken: UInt32 = 0
    /// The answer to later reads and writes, when the keeper has ended.
    var isGone = false
    var wasForgotten = false

    mutating func token() -> UInt32 {
      nextToken &+= 1
      return nextToken
    }
  }

  private struct Control {
    var command: ProgramCommand
    var completion: @Sendable (Refusal?) -> Void
  }

  private let link: KeeperLink
  private let backplane: any Backplane
  private let initPid: Int32
  private let mutable: Mutex<State>

  let pid: Int32
  let directory: [UInt8]
  let startedAt: Int64

  /// Unanswered writes to one program.
  private static let writesMax = 64
  private static let controlsMax = 64

  init(_ link: KeeperLink, _ status: KeptStatus, _ backplane: any Backplane) {
    self.link = link
    self.backplane = backplane
    pid = status.pid
    initPid = status.initPid
    directory = status.directory
    startedAt = status.startedAt
    mutable = Mutex(State(status: status))
  }

  var order: ProgramOrder { mutable.withLock { $0.status.order } }
  var state: ProgramState { mutable.withLock { $0.status.state } }
  var isEmpty: Bool { mutable.withLock { $0.status.isEmpty } }
  var groups: [Name] { mutable.withLock { $0.status.groups } }
  var terminal: TerminalSize? { mutable.withLock { $0.status.terminal } }
  var endedAt: Int64? {
    mutable.withLock { $0.status.state.isEnd ? $0.status.endedAt : nil }
  }

  func observe(_ change: @escaping @Sendable (ProgramChange) -> Void) {
    mutable.withLock { $0.observer = change }
  }

  // MARK: What is asked

  func read(
    _ stream: OutputStream, from position: UInt64, count: Int,
    completion: @escaping @Sendable (StreamRead) -> Void
  ) -> ReadTicket {
    let (token, refusal): (UInt32, StreamRead?) = mutable.withLock { state in
      let token = state.token()
      if state.isGone { return (token, state.wasForgotten ? .end : .lost) }
      guard state.reads.count < OutputLog.waitingMax else { return (token, .cancelled) }
      state.reads[token] = completion
      return (token, nil)
    }
    if let refusal {
      completion(refusal)
    } else {
      let count = UInt32(min(max(1, count), KeeperFrame.dataBytesMax))
      link.send(.read(token: token, stream, position: position, count: count))
    }
    return ReadTicket(rawValue: token)
  }

  func cancel(_ ticket: ReadTicket) {
    let token = ticket.rawValue
    let (read, look) = mutable.withLock {
      ($0.reads.removeValue(forKey: token), $0.looks.removeValue(forKey: token))
    }
    guard read != nil || look != nil else { return }
    link.send(.cancel(token: token))
    read?(.cancelled)
    look?(.busy)
  }

  func look(
    at place: ProgramPlace, waits: Bool, completion: @escaping @Sendable (ProgramLook) -> Void
  ) -> ReadTicket {
    let (token, refusal): (UInt32, ProgramLook?) = mutable.withLock { state in
      let token = state.token()
      if state.isGone { return (token, .ended) }
      guard state.looks.count < OutputLog.waitingMax else { return (token, .busy) }
      state.looks[token] = completion
      return (token, nil)
    }
    if let refusal {
      completion(refusal)
    } else {
      link.send(.look(token: token, place, waits: waits))
    }
    return ReadTicket(rawValue: token)
  }

  func write(
    _ data: [UInt8], at position: UInt64?, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    guard data.count <= KeeperFrame.dataBytesMax else { return completion(.badByteCount) }
    let (token, refusal): (UInt32, ReplyCode?) = mutable.withLock { state in
      let token = state.token()
      if state.isGone { return (token, .brokenPipe) }
      guard state.writes.count < Self.writesMax else { return (token, .busy) }
      state.writes[token] = completion
      return (token, nil)
    }
    if let refusal { return completion(refusal) }
    link.send(.write(token: token, position: position, data))
  }

  func note(groups: [Name]) {
    mutable.withLock { $0.status.groups = groups }
    link.send(.noteGroups(groups))
  }

  func endInput() { link.send(.endInput) }
  func hangUp() { link.send(.hangUp) }

  func control(
    _ command: ProgramCommand, asUser: Bool, completion: @escaping @Sendable (Refusal?) -> Void
  ) {
    let (token, refusal): (UInt32, Refusal?) = mutable.withLock { state in
      let token = state.token()
      if state.isGone { return (token, .ended) }
      guard state.controls.count < Self.controlsMax else {
        return (token, Refusal(.busy, "too many commands are under way"))
      }
      state.controls[token] = Control(command: command, completion: completion)
      return (token, nil)
    }
    if let refusal { return completion(refusal) }
    link.send(.control(token: token, command, asUser: asUser))
  }

  func forget() {
    mutable.withLock { $0.wasForgotten = true }
    link.send(.forget)
  }

  func processes(completion: @escaping @Sendable ([Int32]) -> Void) {
    guard !isEmpty else { return completion([]) }
    backplane.disk { [initPid] in
      completion(ProcessTable(below: initPid).descendants(of: initPid).map(\.pid).sorted())
    }
  }

  func usage(completion: @escaping @Sendable (ProgramUsage) -> Void) {
    let status = mutable.withLock { $0.status }
    guard !status.isEmpty else {
      return completion(
        ProgramUsage(
          processorMilliseconds: status.processorMilliseconds, memoryKilobytes: 0,
          processCount: 0))
    }
    backplane.disk { [initPid] in
      completion(ProcessTable(below: initPid).usage(below: initPid))
    }
  }

  // MARK: What the keeper says

  /// Handles a frame of the keeper; nil means that it has ended.
  func handle(_ frame: KeeperFrame?) {
    switch frame {
    case .output(let token, let read):
      mutable.withLock { $0.reads.removeValue(forKey: token) }?(read)
    case .taken(let token, let code):
      mutable.withLock { $0.writes.removeValue(forKey: token) }?(code)
    case .looked(let token, let found):
      mutable.withLock { $0.looks.removeValue(forKey: token) }?(found)
    case .controlled(let token, let refusal):
      finish(token, refusal)
    case .changed(let new, let time, let processor):
      let observer = mutable.withLock { state in
        state.status.state = new
        state.status.endedAt = time
        state.status.processorMilliseconds = processor
        return state.observer
      }
      observer?(.state(new))
    case .emptied(let processor):
      let observer = mutable.withLock { state in
        state.status.isEmpty = true
        state.status.processorMilliseconds = processor
        return state.observer
      }
      observer?(.empty)
    case .start, .read, .cancel, .write, .endInput, .control, .hangUp, .forget, .noteGroups,
      .look, .program, .refused:
      // No keeper sends these now.
      break
    case nil:
      handleLoss()
    }
  }

  private func finish(_ token: UInt32, _ refusal: Refusal?) {
    let control = mutable.withLock { state in
      let control = state.controls.removeValue(forKey: token)
      if refusal == nil {
        switch control?.command {
        case .setClass(let programClass): state.status.order.programClass = programClass
        case .setSize(let size): state.status.terminal = size
        case .suspend, .resume, .kill, nil: break
        }
      }
      return control
    }
    control?.completion(refusal)
  }

  /// When a keeper ends, its program ends, and so do the processes that it left behind.
  private func handleLoss() {
    let (reads, writes, looks, controls) = mutable.withLock { state in
      defer {
        state.reads = [:]
        state.looks = [:]
        state.writes = [:]
        state.controls = [:]
      }
      state.isGone = true
      return (
        Array(state.reads.values), Array(state.writes.values), Array(state.looks.values),
        Array(state.controls.values)
      )
    }
    let (read, observer, changes) = mutable.withLock { state in
      let read: StreamRead = state.wasForgotten ? .end : .lost
      var changes: [ProgramChange] = []
      if !state.status.state.isEnd {
        state.status.state = .killed(signal: SIGKILL)
        state.status.endedAt = backplane.wallClock
        changes.append(.state(state.status.state))
      }
      if !state.status.isEmpty {
        state.status.isEmpty = true
        changes.append(.empty)
      }
      return (read, state.observer, changes)
    }
    for completion in reads { completion(read) }
    for completion in writes { completion(.brokenPipe) }
    for completion in looks { completion(.ended) }
    for control in controls { control.completion(.ended) }
    for change in changes { observer?(change) }
  }
}
