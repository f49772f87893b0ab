import CVLinux
import Glibc
import VProtocol
import VStore

/// The processes of a program, and the keeper's ends of its streams: descriptors, -1 if closed.
struct ProgramProcess {
  /// The supervisor: all processes of the program descend from it.
  let initPid: Int32
  /// Readable once the supervisor has ended, and with it all processes of the program.
  private(set) var death: Int32 = -1
  private(set) var reports: Int32 = -1
  private(set) var input: Int32 = -1
  private(set) var output: Int32 = -1
  private(set) var error: Int32 = -1
  /// With a terminal: one descriptor for both directions, and its other end, held so that the
  /// terminal stays.
  private var slave: Int32
  let hasTerminal: Bool

  /// Starts the supervisor of the program in `order`; `reports` tells its progress.
  init(_ order: KeeperOrder, _ group: ProgramGroup) throws(Refusal) {
    var streams: [Int32] = []
    var slave: Int32 = -1
    if let size = order.program.terminal {
      input = unsafe v_terminal_open(order.uid, &slave)
      guard input >= 0 else { throw .system(input, "no terminal") }
      _ = v_terminal_resize(input, size.rows, size.columns)
      output = input
      streams = [slave, slave, slave]
    } else {
      let user = order.uid
      let (standard, out, err) = (
        try Self.pipe(of: user), try Self.pipe(of: user), try Self.pipe(of: user)
      )
      (input, output, error) = (standard.writer, out.reader, err.reader)
      streams = [standard.reader, out.writer, err.writer]
    }
    self.slave = slave
    hasTerminal = slave >= 0
    for own in [input, output, error] where own >= 0 { _ = fcntl(own, F_SETFL, O_NONBLOCK) }
    var channel: [Int32] = [-1, -1]
    let made = unsafe v_report_channel(&channel)
    guard made == 0 else { throw .system(made, "no channel to the program") }
    reports = channel[0]
    var death: Int32 = -1
    initPid = Self.start(order, group, streams, channel: channel, &death)
    self.death = death
    guard initPid > 0 else { throw .system(initPid, "no process for the program") }
    close(channel[1])
    if slave < 0 { for stream in streams { close(stream) } }
  }

  /// The program may open it by its name, such as /dev/stdout.
  private static func pipe(of user: UInt32) throws(Refusal) -> (reader: Int32, writer: Int32) {
    var ends: [Int32] = [-1, -1]
    guard unsafe pipe2(&ends, O_CLOEXEC) == 0 else { throw .system(-errno, "no pipe") }
    guard fchown(ends[0], user, gid_t.max) == 0 else { throw .system(-errno, "no pipe") }
    return (ends[0], ends[1])
  }

  private static func start(
    _ order: KeeperOrder, _ group: ProgramGroup, _ streams: [Int32], channel: [Int32],
    _ death: inout Int32
  ) -> Int32 {
    let (program, mechanism) = (order.program, order.resources.mechanism)
    let nice = program.programClass.nice
    var plan = unsafe v_program_plan()
    // Never freed: the keeper starts only one program.
    unsafe plan.arguments = unsafe texts(program.arguments)
    unsafe plan.environment = unsafe texts(program.environment)
    unsafe plan.directory = unsafe text(program.directory)
    unsafe plan.home = unsafe text(order.home)
    unsafe plan.groups_joined = unsafe texts(group.entrances.map { Array($0.utf8) })
    unsafe plan.kill_file = unsafe text(Array(group.killFile.utf8))
    unsafe plan.keeper_end = channel[0]
    unsafe plan.uid = order.uid
    unsafe plan.gid = order.gid
    unsafe plan.session_nice = mechanism == .autogroup ? nice : 0
    unsafe plan.process_nice = mechanism == .nice ? nice : 0
    unsafe plan.streams = (streams[0], streams[1], streams[2])
    unsafe plan.mask = program.umask
    unsafe plan.has_terminal = program.terminal == nil ? 0 : 1
    return unsafe order.groups.withUnsafeBufferPointer { groups in
      unsafe plan.groups = groups.baseAddress
      unsafe plan.group_count = groups.count
      return unsafe v_program_start(&plan, channel[1], &death)
    }
  }

  private static func text(_ octets: [UInt8]) -> UnsafePointer<CChar> {
    let copy = UnsafeMutablePointer<CChar>.allocate(capacity: octets.count + 1)
    for (index, octet) in octets.enumerated() { unsafe copy[index] = CChar(bitPattern: octet) }
    unsafe copy[octets.count] = 0
    return unsafe UnsafePointer(copy)
  }

  private static func texts(_ parts: [[UInt8]]) -> UnsafePointer<UnsafePointer<CChar>?> {
    let copy = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: parts.count + 1)
    for (index, part) in parts.enumerated() { unsafe copy[index] = unsafe text(part) }
    unsafe copy[parts.count] = nil
    return unsafe UnsafePointer(copy)
  }

  // MARK: Streams

  func resize(_ size: TerminalSize) -> Int32 { v_terminal_resize(input, size.rows, size.columns) }

  /// With a terminal the program gets no end of its input.
  mutating func closeInput() {
    guard !hasTerminal, input >= 0 else { return }
    close(input)
    input = -1
  }

  /// Closes the terminal: processes that still use it lose it.
  mutating func closeTerminal() {
    guard hasTerminal, slave >= 0 else { return }
    close(slave)
    close(input)
    (slave, input, output) = (-1, -1, -1)
  }

  mutating func closeOutput(_ stream: OutputStream) {
    if stream == .out {
      if !hasTerminal { close(output) }
      output = -1
    } else {
      close(error)
      error = -1
    }
  }

  mutating func closeReports() {
    close(reports)
    reports = -1
  }

  func descriptor(of stream: OutputStream) -> Int32 { stream == .out ? output : error }

  /// Output octets that nobody has read; for a terminal not all of them.
  func waitingCount(of stream: OutputStream) -> Int {
    var count: Int32 = 0
    return unsafe ioctl(descriptor(of: stream), UInt(FIONREAD), &count) == 0 ? Int(count) : 0
  }

  /// Reaps the supervisor, which has ended or is about to; returns its wait status, and
  /// milliseconds used.
  mutating func reap() -> (status: Int32, processorMilliseconds: UInt64) {
    var status: Int32 = 0
    var milliseconds: UInt64 = 0
    _ = unsafe v_program_reap(initPid, &status, &milliseconds)
    close(death)
    death = -1
    return (status, milliseconds)
  }

  // MARK: Signals

  /// Signals the process group in the foreground of the terminal, else the one of `root`.
  func signal(_ number: Int32, root: Int32, _ rights: SignalRights) -> Int32 {
    let foreground = foreground
    return rights.send(number, to: [-(foreground > 0 ? foreground : root)])
  }

  /// The process group in the foreground of the terminal, or -1.
  var foreground: Int32 { hasTerminal && input >= 0 ? tcgetpgrp(input) : -1 }

  /// Acts like a lost terminal line: signals also the group that is not in the foreground.
  func hangUp(root: Int32, _ rights: SignalRights) {
    for number in [SIGHUP, SIGCONT] {
      _ = rights.send(number, to: [-root])
      _ = signal(number, root: root, rights)
    }
  }

  func setClass(_ programClass: ProgramClass, _ mechanism: ClassMechanism, root: Int32) -> Int32 {
    switch mechanism {
    case .cgroup2, .cgroup1: return 0
    case .autogroup: return unsafe v_put_text("/proc/\(initPid)/autogroup", "\(programClass.nice)")
    case .nice:
      let group = __priority_which_t(PRIO_PGRP.rawValue)
      return setpriority(group, id_t(root), programClass.nice) == 0 ? 0 : -errno
    }
  }
}
