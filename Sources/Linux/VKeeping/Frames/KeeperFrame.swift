package import VProtocol
package import VStore

/// One packet of the local socket between the team server and the keeper of one program.
///
/// ```
/// server                             keeper
///    |-- start -------------------> |     once, from the server that wants the program
///    |  <------ program or refused --|     program also first of all to every successor
///    |-- read, cancel ------------> |     a token pairs question and answer
///    |  <------------------ output --|
///    |-- write -------------------> |
///    |  <------------------- taken --|
///    |-- look, cancel ------------> |
///    |  <------------------ looked --|
///    |-- control -----------------> |
///    |  <-------------- controlled --|
///    |  <----------------- changed --|     every new state
///    |  <----------------- emptied --|     nothing of the program is left
///    |-- endInput, hangUp, forget > |
///    |-- noteGroups --------------> |
/// ```
/// The socket keeps packets whole and in order; a frame that is too long for one packet is sent in
/// several.
package enum KeeperFrame: Equatable, Sendable {
  case start(KeeperOrder)
  case read(token: UInt32, OutputStream, position: UInt64, count: UInt32)
  case cancel(token: UInt32)
  /// With a position, octets that were written with one before are skipped.
  case write(token: UInt32, position: UInt64?, [UInt8])
  case look(token: UInt32, ProgramPlace, waits: Bool)
  case endInput
  /// With root's rights, or with those of the program's user.
  case control(token: UInt32, ProgramCommand, asUser: Bool)
  /// Always with the rights of the program's user.
  case hangUp
  case forget
  /// For the next server: the groups that the program is in.
  case noteGroups([Name])

  case program(KeptStatus)
  case refused(Refusal)
  case output(token: UInt32, StreamRead)
  case taken(token: UInt32, ReplyCode)
  case looked(token: UInt32, ProgramLook)
  /// Nil is done.
  case controlled(token: UInt32, Refusal?)
  /// `at` is the time of an end in nanoseconds since 1970, else 0; `processor` is the processor
  /// time so far in milliseconds.
  case changed(ProgramState, at: Int64, processorMilliseconds: UInt64)
  /// Neither the program nor a process that it left behind runs.
  case emptied(processorMilliseconds: UInt64)

  /// The limit of one write or of one answer to a read.
  package static let dataBytesMax = 65_536
  /// The largest frame is the order: its parts, each with its length; then names, paths, and the
  /// variables of every login.
  package static let byteCountMax = ProgramOrder.octetsMax + 65_536
}

/// Everything that a keeper needs to start a program, so that it asks no other process.
package struct KeeperOrder: Equatable, Sendable {
  package var program: ProgramOrder
  package var uid: UInt32
  package var gid: UInt32
  package var groups: [UInt32]
  package var home: [UInt8]
  package var resources: HostResources
  /// The directory for the keeper's socket.
  package var directory: String
  /// Whether the program goes on when the server dies.
  package var outlivesServer: Bool

  package init(
    program: ProgramOrder, uid: UInt32, gid: UInt32, groups: [UInt32], home: [UInt8],
    resources: HostResources, directory: String, outlivesServer: Bool
  ) {
    self.program = program
    self.uid = uid
    self.gid = gid
    self.groups = groups
    self.home = home
    self.resources = resources
    self.directory = directory
    self.outlivesServer = outlivesServer
  }

  package static let groupsMax = 256
}

/// What a keeper tells a server about its program.
package struct KeptStatus: Equatable, Sendable {
  package var order: ProgramOrder
  package var pid: Int32
  /// The supervisor: all of the program's processes descend from it.
  package var initPid: Int32
  package var directory: [UInt8]
  /// Nanoseconds since 1970; 0 for an end that has not come.
  package var startedAt: Int64
  package var endedAt: Int64
  package var state: ProgramState
  /// Whether none of its processes runs.
  package var isEmpty: Bool
  package var terminal: TerminalSize?
  package var processorMilliseconds: UInt64
  package var groups: [Name]

  package init(
    order: ProgramOrder, pid: Int32, initPid: Int32, directory: [UInt8], startedAt: Int64,
    endedAt: Int64 = 0, state: ProgramState = .running, isEmpty: Bool = false,
    terminal: TerminalSize? = nil, processorMilliseconds: UInt64 = 0, groups: [Name] = []
  ) {
    self.order = order
    self.pid = pid
    self.initPid = initPid
    self.directory = directory
    self.startedAt = startedAt
    self.endedAt = endedAt
    self.state = state
    self.isEmpty = isEmpty
    self.terminal = terminal
    self.processorMilliseconds = processorMilliseconds
    self.groups = groups
  }
}
