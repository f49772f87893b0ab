/// The order in which parties Send to each other: the whole proof that waiting for messages cannot
/// deadlock.
///
/// A party waits only for the answers of parties below it, and never of one above; a test checks
/// that. Nobody waits for replies, forwards and datagrams, so they may go anywhere. A server may be
/// on the sender's own host or on another.
public enum Party: String, CaseIterable, Sendable {
  /// A program or a tool: `v`, an attached process.
  case program
  /// VMount, for the programs that use `/v`.
  case mount
  case fileServer
  case pipeServer
  /// The group server: operations on its names, ChangeGroup, and messages to members.
  case groupServer
  /// The same server, when a program's own manager has the program join or leave: it asks no team
  /// server.
  case groupMembership
  case teamServer
  case directory
  /// The kernel servers: state of a node, time, devices.
  case node
  /// A manager's answers from memory: QueryName to the name handling group, ListInstances.
  case nameHandler
  /// A group server's data on a group: QueryGroup, from memory.
  case groupTable
  /// VMTP's managers: probes, which the kernel itself answers.
  case kernelManager

  public var sendsTo: [Party] {
    switch self {
    case .program:
      [
        .directory, .fileServer, .pipeServer, .groupServer, .teamServer, .node, .nameHandler,
        .kernelManager,
      ]
    case .mount:
      [.directory, .fileServer, .pipeServer, .groupServer, .teamServer, .node, .nameHandler]
    case .groupServer: [.directory, .teamServer, .groupTable, .node, .nameHandler, .kernelManager]
    case .groupMembership: [.groupTable, .kernelManager]
    case .fileServer, .pipeServer: [.directory, .kernelManager]
    case .teamServer: [.directory, .groupMembership, .kernelManager]
    case .directory: [.nameHandler, .kernelManager]
    case .node: [.directory, .nameHandler, .kernelManager]
    case .nameHandler, .groupTable, .kernelManager: []
    }
  }
}
