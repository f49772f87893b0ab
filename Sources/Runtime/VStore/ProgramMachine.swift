public import VProtocol

/// The machine as the team server sees it: it starts programs, finds those that an earlier run of
/// the server left, and looks at everything else that runs.
///
/// `LinuxPrograms`, in a room of its own, is the real one. No call waits. Completions come exactly
/// once, on any thread of the loop, perhaps before the call returns, and must not block.
public protocol ProgramMachine: Sendable {
  /// Starts a program; it runs when `completion` gets it.
  ///
  /// Refusals: `notFound` (no such program, no such user), `noPermission`, `badArguments`,
  /// `noServerResources` and others that the machine gives for starting nothing.
  func start(
    _ order: ProgramOrder, completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void)

  /// The programs that an earlier run of the server left: they run, or have ended and are not
  /// forgotten. To be asked once, before anything is started.
  func recover(completion: @escaping @Sendable ([any HostedProgram]) -> Void)

  /// Every process of the host but kernel threads and those of programs that were started here.
  func otherProcesses(completion: @escaping @Sendable ([HostProcess]) -> Void)
  /// One file of `/proc/PID`, at most `ProcessFile.octetsMax` octets of it; `noProcess` where there
  /// is no such process, `noPermission` where Linux would not let the onlooker read it, `busy`
  /// where the onlooker has too many such reads that wait.
  ///
  /// A public file is shown to every onlooker, who need not be a user of this host.
  func read(
    _ file: ProcessFile, ofProcess pid: Int32, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void)
  /// Octets of a process's memory; fewer than `count` where a mapping ends, `outOfRange` where
  /// nothing is mapped at `position`, `noPermission` where Linux would not let the onlooker look,
  /// `busy` as for a file.
  func readMemory(
    ofProcess pid: Int32, at position: UInt64, count: Int, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void)

  /// Whether there is a user of this name who can run programs here: not one who is root by another
  /// name, and not nobody. Refused where the table of users, which may be elsewhere, does not tell.
  func hasUser(_ name: String, completion: @escaping @Sendable (Outcome<Bool>) -> Void)

  /// The load average of the last minute, times 1,000.
  var loadThousandths: Int { get }
  /// What tells the classes of programs apart.
  var classMechanism: ClassMechanism { get }
}

/// Whose rights a look into a process is checked with, by the rules of ptrace(2): the process has
/// the same ids, all of them, and its memory is no secret from its user.
///
/// Nor is it shown to one who may not read the file that the process runs.
/// A program that runs a set-user program is another one's from then on.
public enum Onlooker: Equatable, Sendable {
  /// Root with all rights over the host.
  case fullRoot
  /// A local user, by name.
  case user(String)
}

/// A program that was started here, and what its keeper holds of it: streams and status, until it
/// is forgotten.
public protocol HostedProgram: AnyObject, Sendable {
  /// The root process, as the host counts.
  var pid: Int32 { get }
  var order: ProgramOrder { get }
  /// The directory it was started in: the one that was asked for, or else its user's home, or else
  /// the root.
  var directory: [UInt8] { get }
  /// Nanoseconds since 1970.
  var startedAt: Int64 { get }
  /// Nanoseconds since 1970; nil while it runs.
  var endedAt: Int64? { get }
  var state: ProgramState { get }
  /// Whether nothing of it is left: neither the program, nor a process that it left behind.
  var isEmpty: Bool { get }
  /// The groups that it is in, as they were noted last, perhaps by an earlier run of the server.
  var groups: [Name] { get }
  /// Keeps the groups that it is in for the next run of the server.
  func note(groups: [Name])
  /// The size of its terminal now, if it has one.
  var terminal: TerminalSize? { get }

  /// Calls `change` with every new state, the last one being an end; and when nothing is left of
  /// it. There is one observer: a second call replaces it.
  func observe(_ change: @escaping @Sendable (ProgramChange) -> Void)

  /// Reads at most `count` octets from `position` on; what was dropped is skipped.
  ///
  /// What an attached program leaves behind writes to where one position behind its end is read.
  /// Answered when there are some, or none will come. A read at a position says that everything
  /// before it was taken: an attached program is held up while `StreamRead.unreadMax` octets of a
  /// stream are not.
  @discardableResult
  func read(
    _ stream: OutputStream, from position: UInt64, count: Int,
    completion: @escaping @Sendable (StreamRead) -> Void
  ) -> ReadTicket
  /// Ends a read with `cancelled`, or a look with `busy`, unless it is over.
  func cancel(_ ticket: ReadTicket)
  /// Tells whether a read or a write would be answered at once; one that `waits` is answered as
  /// soon as that is so.
  ///
  /// Nothing is read, or said to be taken, by it.
  @discardableResult
  func look(
    at place: ProgramPlace, waits: Bool, completion: @escaping @Sendable (ProgramLook) -> Void
  ) -> ReadTicket

  /// Writes to the program's input; `ok` once the keeper has taken all of `data` (it has room for
  /// 64 KB that the program did not read yet), `brokenPipe` where nothing will read it.
  ///
  /// With a position, which counts the octets that were written with one, those that were written
  /// before are not written again; `outOfRange` where some before it are missing.
  func write(
    _ data: [UInt8], at position: UInt64?, completion: @escaping @Sendable (ReplyCode) -> Void)
  /// End of file for the program, after what was written; nothing with a terminal.
  func endInput()

  /// Does what `command` says; nil is done. `noProcess` once nothing of the program is left.
  ///
  /// What it left behind is signalled as a whole.
  ///
  /// With `asUser` nothing is done that the user it runs as could not do on the host, else
  /// `notOwner`: a process that has become another user's takes no signal of hers, and a program
  /// that has such a one is not suspended and keeps its class.
  func control(
    _ command: ProgramCommand, asUser: Bool, completion: @escaping @Sendable (Refusal?) -> Void)
  /// For an attached program whose starter is gone: SIGHUP, and KILL where it still runs 2 s later;
  /// both to the processes that are not in its background.
  ///
  /// Done as the user it runs as, like a command.
  func hangUp()

  /// The pids of its processes, as the host counts.
  func processes(completion: @escaping @Sendable ([Int32]) -> Void)
  /// What it uses, or used.
  func usage(completion: @escaping @Sendable (ProgramUsage) -> Void)

  /// Lets go of a program: nothing of it is kept, and its reads end. What runs of it is killed
  /// first.
  func forget()
}

/// What a program's observer is told.
public enum ProgramChange: Equatable, Sendable {
  case state(ProgramState)
  /// The program has ended, and what it had left behind too.
  case empty
}

/// A program's two streams of output; with a terminal everything is `out`.
public enum OutputStream: UInt8, CaseIterable, Sendable {
  case out = 1
  case err = 2
}

/// What came of a read of a stream.
public enum StreamRead: Equatable, Sendable {
  /// At least one octet; `position` is beyond the one asked for if older ones were dropped.
  case octets([UInt8], position: UInt64)
  /// The program has ended and there is nothing at or after the position.
  case end
  case cancelled
  /// The keeper died.
  case lost

  /// Octets that an attached program may be ahead of its reader.
  public static let unreadMax = 65_536
  /// Octets of each stream that are kept, read or not.
  public static let keptMax = 1 << 20
}

/// A place of a program's streams where something is to be read or written.
public enum ProgramPlace: Equatable, Sendable {
  case output(OutputStream, from: UInt64)
  case input
}

/// What a look at a place of a stream finds.
public enum ProgramLook: UInt8, CaseIterable, Sendable {
  /// There is something to read, or room for a write of 16,384 octets.
  case ready = 1
  /// It is the end of the stream: nothing comes any more, or nobody reads any more.
  case ended = 2
  /// Neither, or not as long as it was waited for.
  case busy = 3
}

/// Names a read or a look, to cancel it.
public struct ReadTicket: Hashable, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}
