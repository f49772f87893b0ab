public import VProtocol

/// A program to be started, and its starter.
public struct ProgramOrder: Equatable, Sendable {
  /// The program's name in V: at most 32 of `A-Za-z0-9._+-`.
  public var name: String
  /// At least one; the first one is searched in PATH of the environment.
  public var arguments: [[UInt8]]
  /// `NAME=VALUE` each.
  ///
  /// The machine adds HOME, USER, LOGNAME, SHELL and PATH if they are missing.
  public var environment: [[UInt8]]
  /// Where to start it; empty is the home directory.
  public var directory: [UInt8]
  /// The local user it runs as.
  public var user: String
  /// The principal that started it, `ann@kea`.
  public var starter: String
  /// Whether the starter was root with all of its rights, which the text does not show: root of the
  /// host has a share of its own.
  public var isStarterFullRoot: Bool
  public var programClass: ProgramClass
  /// Nil without a terminal: then its streams are pipes.
  public var terminal: TerminalSize?
  /// The permissions that it withholds from new files, as umask(2).
  public var umask: UInt32
  /// Whether its output waits for a reader instead of being dropped.
  public var isAttached: Bool
  /// How long an attached program goes on while its starter's host is silent.
  public var waitSeconds: UInt32

  public init(
    name: String, arguments: [[UInt8]], environment: [[UInt8]] = [], directory: [UInt8] = [],
    user: String, starter: String, isStarterFullRoot: Bool = false,
    programClass: ProgramClass = .foreground, terminal: TerminalSize? = nil,
    umask: UInt32 = umaskDefault, isAttached: Bool = false,
    waitSeconds: UInt32 = 0
  ) {
    self.name = name
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
    self.user = user
    self.starter = starter
    self.isStarterFullRoot = isStarterFullRoot
    self.programClass = programClass
    self.terminal = terminal
    self.umask = umask
    self.isAttached = isAttached
    self.waitSeconds = waitSeconds
  }

  public static let umaskDefault: UInt32 = 0o022

  /// The limit of Linux, whatever the host's limits are: three quarters of 8 MB.
  ///
  /// The host's own limit may be lower; then Linux refuses.
  public static let octetsMax = 6 << 20

  /// The size of arguments and environment together, as Linux counts it: each has an end and an
  /// address beside its octets.
  public var octetCount: Int {
    (arguments + environment).reduce(0) { $0 + $1.count + Self.partOctets }
  }

  private static let partOctets = 9

  /// Programs that run on a host, and ended ones that are not forgotten: each has a keeper, a
  /// process of some megabytes, and the 256 of one user are at most 2 GB.
  public static let programsMax = 1024

  /// Octets of memory that an order takes, roughly.
  public var footprint: Int {
    (arguments + environment).reduce(directory.count) { $0 + $1.count + Self.partFootprint }
  }

  /// The memory of an array beside its elements.
  public static let partFootprint = 48
}

/// The priority of a program for the processor (CACM 1988, 3.3).
public enum ProgramClass: String, CaseIterable, Sendable {
  case foreground, background
  /// A program that gets only the time which no other program wants.
  case guest
}

/// The state of a program.
///
/// A suspended program was stopped by `ctl`, which it cannot see; a stopped one by a signal.
public enum ProgramState: Hashable, Sendable {
  case running, stopped, suspended
  case exited(Int32)
  case killed(signal: Int32)

  public var isEnd: Bool {
    switch self {
    case .running, .stopped, .suspended: false
    case .exited, .killed: true
    }
  }
}

/// A command to a program.
public enum ProgramCommand: Hashable, Sendable {
  case suspend, resume
  /// To its process group, with a terminal to the one in its foreground; KILL ends all processes.
  case kill(signal: Int32)
  case setClass(ProgramClass)
  case setSize(TerminalSize)
}

/// Processor time in milliseconds, resident memory in kilobytes.
public struct ProgramUsage: Equatable, Sendable {
  public var processorMilliseconds: UInt64
  public var memoryKilobytes: UInt64
  public var processCount: Int
  public init(processorMilliseconds: UInt64, memoryKilobytes: UInt64, processCount: Int) {
    self.processorMilliseconds = processorMilliseconds
    self.memoryKilobytes = memoryKilobytes
    self.processCount = processCount
  }
}

/// A process that does not belong to a program of the team server.
public struct HostProcess: Equatable, Sendable {
  public var pid: Int32
  /// Linux's name for it, at most 15 octets.
  public var command: [UInt8]
  public init(pid: Int32, command: [UInt8]) {
    self.pid = pid
    self.command = command
  }
}

/// The files of `/proc/PID` that are shown.
public enum ProcessFile: String, CaseIterable, Sendable {
  case status, cmdline, environ, maps

  /// Whether /proc shows it to everybody.
  public var isPublic: Bool { self == .status || self == .cmdline }

  public static let octetsMax = 1 << 20
}

/// How the classes of programs are kept apart, best first.
public enum ClassMechanism: String, CaseIterable, Sendable {
  case cgroup2, cgroup1, autogroup, nice
}

/// The result, or the refusal.
public typealias Outcome<Value> = Result<Value, Refusal>
