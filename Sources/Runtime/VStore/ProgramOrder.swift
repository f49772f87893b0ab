public import VProtocol

/// What is to be started, and for whom.
public struct ProgramOrder: Equatable, Sendable {
  /// How the program is called in names: at most 32 of `A-Za-z0-9._+-`.
  public var name: String
  /// At least one; the first one is looked for by PATH of the environment.
  public var arguments: [[UInt8]]
  /// `NAME=VALUE` each.
  ///
  /// The machine adds HOME, USER, LOGNAME, SHELL and PATH where they lack.
  public var environment: [[UInt8]]
  /// Where to start it; empty is the home directory.
  public var directory: [UInt8]
  /// The local user it runs as.
  public var user: String
  /// The principal who wanted it, `ann@kea`.
  public var starter: String
  /// Whether the starter was root with all of its rights, which the text does not say: a share of
  /// the host's root is not one of its users'.
  public var isStarterFullRoot: Bool
  public var programClass: ProgramClass
  /// Nil without a terminal: then its streams are pipes.
  public var terminal: TerminalSize?
  /// What it takes away from the permissions of what it makes, as umask(2).
  public var umask: UInt32
  /// Whether its output waits for a reader instead of being dropped.
  public var isAttached: Bool
  /// How long an attached one goes on without a starter whose host is silent.
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

  /// What Linux takes at most, whatever the host's limits are: three quarters of 8 MB.
  ///
  /// The host's own limit may be lower; then it is Linux that refuses.
  public static let octetsMax = 6 << 20

  /// What arguments and environment have together, as Linux counts it: each has an end and an
  /// address beside its octets.
  public var octetCount: Int {
    (arguments + environment).reduce(0) { $0 + $1.count + Self.partOctets }
  }

  private static let partOctets = 9

  /// Programs that run on a host, and ended ones that are not forgotten: each has a keeper, a
  /// process of some megabytes, and the 256 of one user are 2 GB at the worst.
  public static let programsMax = 1024

  /// Octets of memory that an order takes, roughly.
  public var footprint: Int {
    (arguments + environment).reduce(directory.count) { $0 + $1.count + Self.partFootprint }
  }

  /// What an array takes beside its elements.
  public static let partFootprint = 48
}

/// How a program stands to others that want the processor (CACM 1988, 3.3).
public enum ProgramClass: String, CaseIterable, Sendable {
  case foreground, background
  /// A program for which its host has only the time that nobody else wants.
  case guest
}

/// How a program is.
///
/// Suspended is what `ctl` does, and cannot be seen by the program; stopped is
/// what signals do.
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

/// What can be done to a program.
public enum ProgramCommand: Hashable, Sendable {
  case suspend, resume
  /// To its process group, with a terminal to the one in its foreground; KILL ends all of it.
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

/// A process that is no program of the team server.
public struct HostProcess: Equatable, Sendable {
  public var pid: Int32
  /// What Linux calls it, at most 15 octets of anything.
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

/// What tells the classes of programs apart, best first.
public enum ClassMechanism: String, CaseIterable, Sendable {
  case cgroup2, cgroup1, autogroup, nice
}

/// What was asked for, or why not.
public typealias Outcome<Value> = Result<Value, Refusal>
