import CVLinux
import Glibc
import VProtocol
import VStore

/// The loop of a keeper: one program, and the connection of its server.
final class Keeper {
  let order: KeeperOrder
  let group: ProgramGroup
  var channel: ServerChannel?
  var program: ProgramProcess?
  /// Nil until the program runs.
  var status: KeptStatus?
  var out: OutputLog
  var err: OutputLog
  var input = InputQueue()
  var looks = Looks()
  var isStopped = false
  var isSuspended = false
  private var listener: Int32 = -1
  /// The root process and the directory of the program, as reported before it ran.
  private var started: (pid: Int32, directory: [UInt8])?
  /// When a program that was hung up is killed, on the monotonic clock in milliseconds.
  var killAt: Int64?
  private var buffer = [UInt8](repeating: 0, count: KeeperFrame.dataBytesMax)
  private var lastReadCount = 0

  /// Frames carried out before the program is served again.
  private static let framesPerTurn = 64

  init(_ order: KeeperOrder, _ channel: ServerChannel) {
    self.order = order
    self.channel = channel
    group = ProgramGroup(order.resources)
    out = OutputLog(holdsUp: order.program.isAttached)
    err = OutputLog(holdsUp: order.program.isAttached)
  }

  func run() -> Never {
    do throws(Refusal) {
      let made = group.make()
      guard made == 0 else { throw .system(made, "no cgroup for the program") }
      let error = group.setClass(order.program.programClass)
      guard error == 0 else { throw .system(error, "no class for the program") }
      program = try ProgramProcess(order, group)
    } catch {
      refuse(error)
    }
    while true { step() }
  }

  /// Reports why nothing runs, and ends.
  private func refuse(_ refusal: Refusal) -> Never {
    channel?.send(.refused(refusal))
    finish()
  }

  /// Ends without leaving anything.
  func finish() -> Never {
    if var program, program.death >= 0 {
      // A process that has not become the program yet ends itself.
      program.closeReports()
      killAll()
      _ = program.reap()
    }
    group.remove()
    if listener >= 0 { unsafe unlink(socketPath) }
    exit(0)
  }

  private var socketPath: String { "\(order.directory)/\(getpid())" }

  // MARK: The loop

  private func step() {
    var entries: [pollfd] = []
    var actions: [() -> Void] = []
    func wait(_ descriptor: Int32, _ events: Int32, _ action: @escaping () -> Void) {
      guard descriptor >= 0, events != 0 else { return }
      entries.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
      actions.append(action)
    }
    if let program {
      wait(program.reports, POLLIN) { [self] in readReports() }
      wait(program.output, out.room > 0 ? POLLIN : 0) { [self] in readOutput(.out) }
      wait(program.error, err.room > 0 ? POLLIN : 0) { [self] in readOutput(.err) }
      wait(program.input, input.head != nil ? POLLOUT : 0) { [self] in writeInput() }
      wait(program.death, POLLIN) { [self] in handleDeath() }
    }
    if let channel {
      wait(channel.descriptor, POLLIN | (channel.hasWaiting ? POLLOUT : 0)) { [self] in
        readFrames(channel)
      }
    }
    wait(listener, POLLIN) { [self] in acceptServer() }
    var timeout: Int32 = -1
    if let killAt { timeout = Int32(max(0, min(killAt - Self.clock, 60_000))) }
    if unsafe poll(&entries, nfds_t(entries.count), timeout) > 0 {
      for (entry, action) in zip(entries, actions) where entry.revents != 0 { action() }
    }
    if let killAt, Self.clock >= killAt {
      self.killAt = nil
      killHungUp()
    }
    answer()
  }

  static var clock: Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  private static var wallClock: Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Sends the answers that are ready, as long as the server takes them.
  private func answer() {
    guard let channel else { return }
    channel.flush()
    while !channel.hasWaiting {
      if let (token, code) = input.nextAnswer() {
        channel.send(.taken(token: token, code))
      } else if let (token, read) = out.nextAnswer() ?? err.nextAnswer() {
        channel.send(.output(token: token, read))
      } else if let (token, found) = looks.nextAnswer(look(at:)) {
        channel.send(.looked(token: token, found))
      } else {
        return
      }
    }
  }

  // MARK: The server

  private func readFrames(_ server: ServerChannel) {
    for _ in 0..<Self.framesPerTurn {
      switch server.receive() {
      case .frame(let frame): carryOut(frame, server)
      case .nothing: return
      case .end: return handleServerLost()
      }
    }
  }

  private func handleServerLost() {
    channel = nil
    out.handleReadersLost()
    err.handleReadersLost()
    input.handleWritersLost()
    looks.removeAll()
    // Whoever wanted it started is gone before it ran; or nobody is to come.
    if status == nil || !order.outlivesServer { finish() }
  }

  private func acceptServer() {
    var peer = v_peer_credentials()
    let descriptor = unsafe v_attach_accept(listener, &peer)
    guard descriptor >= 0 else { return }
    guard peer.uid == 0 || peer.uid == geteuid(), let status else {
      close(descriptor)
      return
    }
    // The server that connected last is the one that counts.
    if channel != nil {
      out.handleReadersLost()
      err.handleReadersLost()
      input.handleWritersLost()
      looks.removeAll()
    }
    let server = ServerChannel(takingOver: descriptor)
    channel = server
    server.send(.program(status))
  }

  // MARK: The program

  private func readReports() {
    guard let descriptor = program?.reports else { return }
    var report = v_report()
    var sender: Int32 = 0
    while true {
      switch unsafe v_report_receive(descriptor, &report, &sender) {
      case 1: handleReport(report, sender)
      case -EAGAIN: return
      default:
        program?.closeReports()
        return
      }
    }
  }

  private func handleReport(_ report: v_report, _ sender: Int32) {
    let (kind, value) = (v_report_kind(UInt32(report.kind)), report.value)
    switch kind {
    case v_report_directory:
      let places = [order.program.directory, order.home, [UInt8(ascii: "/")]]
      started = (sender, places[Int(value)])
    case v_report_running: handleRunning()
    case v_report_stopped, v_report_continued:
      // If suspending is done by stopping, this is no news.
      isStopped = kind == v_report_stopped && (!isSuspended || group.hasFreezer)
      noteState()
    case v_report_ended: handleEnd(value, processorMilliseconds: report.milliseconds)
    default: refuse(refusal(kind, value))
    }
  }

  private func refusal(_ kind: v_report_kind, _ error: Int32) -> Refusal {
    let name = String(decoding: order.program.arguments[0], as: UTF8.self)
    switch kind {
    case v_report_no_program where error == ENOENT:
      return Refusal(.notFound, "no such program: \(name)")
    case v_report_no_program where error == E2BIG:
      return .tooManyArguments(of: order.program.arguments[0])
    case v_report_no_program: return .system(-error, name)
    case v_report_no_group: return .system(-error, "the cgroup takes no program")
    default: return .system(-error, "cannot become \(order.program.user)")
    }
  }

  private func handleRunning() {
    guard let started, let program else { return }
    listener = unsafe v_attach_listen(socketPath)
    guard listener >= 0, unsafe chmod(socketPath, 0o600) == 0 else {
      refuse(.system(listener, socketPath))
    }
    let new = KeptStatus(
      order: order.program, pid: started.pid, initPid: program.initPid,
      directory: started.directory, startedAt: Self.wallClock, terminal: order.program.terminal)
    status = new
    channel?.send(.program(new))
  }

  /// Reports a new state to the server, if it is one.
  func noteState() {
    guard let state = status?.state, !state.isEnd else { return }
    changeState(isSuspended ? .suspended : isStopped ? .stopped : .running)
  }

  private func changeState(_ state: ProgramState) {
    guard var status, status.state != state else { return }
    status.state = state
    self.status = status
    channel?.send(
      .changed(
        state, at: status.endedAt, processorMilliseconds: status.processorMilliseconds))
  }

  /// The program has ended.
  ///
  /// Its background processes go on; nobody reads their output any more.
  private func handleEnd(_ end: Int32, processorMilliseconds: UInt64) {
    guard status?.state.isEnd == false else { return }
    for stream in OutputStream.allCases { drain(stream) }
    program?.closeInput()
    program?.closeTerminal()
    input.handleBroken()
    killAt = nil
    status?.endedAt = Self.wallClock
    status?.processorMilliseconds = processorMilliseconds
    let signal = end & 0x7F
    changeState(signal == 0 ? .exited(end >> 8 & 0xFF) : .killed(signal: signal))
  }

  /// The supervisor has ended, with the last process of the program.
  private func handleDeath() {
    readReports()
    guard let (ownStatus, milliseconds) = program?.reap() else { return }
    if status == nil { refuse(Refusal(.deviceError, "the program could not be started")) }
    handleEnd(ownStatus, processorMilliseconds: milliseconds)
    for stream in OutputStream.allCases { drain(stream) }
    // If the supervisor was killed, its processes still run.
    group.remove()
    status?.isEmpty = true
    status?.processorMilliseconds = milliseconds
    channel?.send(.emptied(processorMilliseconds: milliseconds))
  }

  // MARK: Streams

  private func readOutput(_ stream: OutputStream) {
    guard let descriptor = program?.descriptor(of: stream), descriptor >= 0 else { return }
    let room = min(buffer.count, stream == .out ? out.room : err.room)
    _ = readOutput(stream, descriptor, room)
  }

  /// Returns whether there may be more.
  private func readOutput(_ stream: OutputStream, _ descriptor: Int32, _ room: Int) -> Bool {
    let count = unsafe read(descriptor, &buffer, room)
    lastReadCount = max(0, count)
    if count > 0 {
      if stream == .out {
        out.handleOutput(buffer[..<count])
      } else {
        err.handleOutput(buffer[..<count])
      }
      return true
    }
    if count < 0, errno == EAGAIN || errno == EINTR { return errno == EINTR }
    program?.closeOutput(stream)
    return false
  }

  /// Takes the output of an ended program, and ends the stream for its readers.
  ///
  /// Processes that it left behind may write for ever, so it takes no more than a pipe or a
  /// terminal holds.
  private func drain(_ stream: OutputStream) {
    guard let program else { return }
    var left = max(program.waitingCount(of: stream), program.hasTerminal ? Self.terminalRoom : 0)
    while left > 0, let descriptor = self.program?.descriptor(of: stream), descriptor >= 0 {
      // Output may still be on its way through a terminal; poll(2) waits for it.
      guard v_attach_wait(descriptor, Int16(POLLIN), 0) > 0,
        readOutput(stream, descriptor, min(buffer.count, left))
      else { break }
      left -= lastReadCount
    }
    if stream == .out { out.handleEnd() } else { err.handleEnd() }
  }

  /// More than Linux keeps of a terminal's output.
  private static let terminalRoom = 131_072

  func writeInput() {
    guard let descriptor = program?.input, descriptor >= 0 else { return }
    while let head = input.head {
      let count = unsafe head.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        if errno != EAGAIN { input.handleBroken() }
        break
      }
      input.handleWritten(count)
    }
    if input.isToBeClosed { program?.closeInput() }
  }
}
