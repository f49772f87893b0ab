public import VProtocol

/// The machine as the team server uses it: it starts programs, finds those that an earlier run of
/// the server left, and shows all other processes.
///
/// `LinuxPrograms`, in a room of its own, is the real one. No call waits. Completions come exactly
/// once, on any thread of the loop, perhaps before the call returns, and must not block.
public protocol ProgramMachine: Sendable {
  /// Starts a program; it runs when `completion` is called.
  ///
  /// Refusals: `notFound` (no such program, no such user), `noPermission`, `badArguments`,
  /// `noServerResources`, and other reasons of the machine for not starting it.
  func start(
    _ order: ProgramOrder, completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void)

  /// The programs that an earlier run of the server left: they run, or have ended and are not
  /// forgotten.
  ///
  /// Called once, before any program is started.
  func recover(completion: @escaping @Sendable ([any HostedProgram]) -> Void)

  /// Every process of the host, except kernel threads and those of programs that were started here.
  func otherProcesses(completion: @escaping @Sendable ([HostProcess]) -> Void)
  /// One file of `/proc/PID`, at most `ProcessFile.octetsMax` octets of it; `noProcess` if there is
  /// no such process, `noPermission` if Linux would not let the onlooker read it, `busy` if too
  /// many such reads of the onlooker wait.
  ///
  /// A public file is shown to every onlooker, who need not be a user of this host.
  func read(
    _ file: ProcessFile, ofProcess pid: Int32, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void)
  /// Octets of a process's memory; fewer than `count` where a mapping ends, `outOfRange` if nothing
  /// is mapped at `position`, `noPermission` if Linux would not let the onlooker read it, `busy` as
  /// for a file.
  func readMemory(
    ofProcess pid: Int32, at position: UInt64, count: Int, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void)

  /// Whether a user of this name can run programs here: neither another name of root, nor nobody.
  ///
  /// Refused if the table of users, which may be elsewhere, gives no answer.
  func hasUser(_ name: String, completion: @escaping @Sendable (Outcome<Bool>) -> Void)

  /// The load average of the last minute, times 1,000.
  var loadThousandths: Int { get }
  /// How the classes of programs are kept apart.
  var classMechanism: ClassMechanism { get }
}

/// The user whose rights are checked for a look at a process, by the rules of ptrace(2): the
/// process has the same ids, all of them, and does not hide its memory from its user.
///
/// The user must also be able to read the file that the process runs. A program that runs a
/// set-user program belongs to another user from then on.
public enum Onlooker: Equatable, Sendable {
  /// Root with all rights over the host.
  case fullRoot
  /// A local user, by name.
  case user(String)
}

/// A program that was started here, with the streams and status that its keeper has, until it is
/// forgotten.
public protocol HostedProgram: AnyObject, Sendable {
  /// The process number of the root process on the host.
  var pid: Int32 { get }
  var order: ProgramOrder { get }
  /// The directory it was started in: the one that was asked for, else its user's home, else the
  /// root.
  var directory: [UInt8] { get }
  /// Nanoseconds since 1970.
  var startedAt: Int64 { get }
  /// Nanoseconds since 1970; nil while it runs.
  var endedAt: Int64? { get }
  var state: ProgramState { get }
  /// Whether neither the program nor a process that it left behind runs.
  var isEmpty: Bool { get }
  /// The groups that it is in, as last noted, perhaps by an earlier run of the server.
  var groups: [Name] { get }
  /// Stores the groups that it is in for the next run of the server.
  func note(groups: [Name])
  /// The size of its terminal now, if it has one.
  var terminal: TerminalSize? { get }

  /// Calls `change` with every new state, the last one being an end; and when its last process has
  /// ended.
  ///
  /// There is one observer: a second call replaces it.
  func observe(_ change: @escaping @Sendable (ProgramChange) -> Void)

  /// Reads at most `count` octets from `position` on; dropped octets are skipped.
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
  /// 64 KB that the program has not read yet), `brokenPipe` if nothing will read it.
  ///
  /// The position counts the octets that were written with one: those that were written before are
  /// skipped; `outOfRange` if some before it are missing.
  func write(
    _ data: [UInt8], at position: UInt64?, completion: @escaping @Sendable (ReplyCode) -> Void)
  /// End of file for the program, after what was written; has no effect with a terminal.
  func endInput()

  /// Carries out `command`; nil when it is done.
  ///
  /// `noProcess` once none of its processes runs.
  ///
  /// Processes that it left behind are signalled together.
  ///
  /// With `asUser` only what its user could do on the host is done, else `notOwner`: a process that
  /// has become another user's gets no signal, and a program with such a process is not suspended
  /// and keeps its class.
  func control(
    _ command: ProgramCommand, asUser: Bool, completion: @escaping @Sendable (Refusal?) -> Void)
  /// Hangs up an attached program whose starter has ended: SIGHUP, and KILL if it still runs 2 s
  /// later, both to the processes that are not in its background.
  ///
  /// Done with its user's rights, like a command.
  func hangUp()

  /// The process numbers of its processes on the host.
  func processes(completion: @escaping @Sendable ([Int32]) -> Void)
  /// Its use of processor and memory, also after its end.
  func usage(completion: @escaping @Sendable (ProgramUsage) -> Void)

  /// Drops a program with all that is kept of it; its reads end.
  ///
  /// Processes that still run are killed first.
  func forget()
}

/// A change that a program's observer gets.
public enum ProgramChange: Equatable, Sendable {
  case state(ProgramState)
  /// The program has ended, and so have the processes that it left behind.
  case empty
}

/// A program's two streams of output; with a terminal everything is `out`.
public enum OutputStream: UInt8, CaseIterable, Sendable {
  case out = 1
  case err = 2
}

/// The result of a read of a stream.
public enum StreamRead: Equatable, Sendable {
  /// At least one octet; `position` is beyond the one asked for if older ones were dropped.
  case octets([UInt8], position: UInt64)
  /// The program has ended and there is nothing at or after the position.
  case end
  case cancelled
  /// The keeper died.
  case lost

  /// How many octets an attached program may be ahead of its reader.
  public static let unreadMax = 65_536
  /// How many octets of each stream are kept, read or not.
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
