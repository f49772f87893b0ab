/// Who Sends to whom: the whole proof that waiting for messages cannot deadlock.
///
/// A party waits only for the answers of those below it, and there is no way back up; a test
/// checks that. Replies, forwards and datagrams are nobody's wait, so they may go anywhere.
/// Boards may find that what they send to is on their own host or on another.
public enum Party: String, CaseIterable, Sendable {
  /// A program or a tool: `v`, an attached process.
  case program
  /// VMount, in the name of the programs that use `/v`.
  case mount
  case fileServer
  case pipeServer
  /// The group board: what is done by its names, by ChangeGroup, and by messages to its members.
  case groupBoard
  /// The same board, where a program's own manager has it join or leave: it asks no team server.
  case groupMembership
  case teamServer
  case directory
  /// The kernel servers: how a node is, time, devices.
  case node
  /// What a manager answers from memory: QueryName to the name handling group, ListInstances.
  case nameHandler
  /// What a group board has of a group: QueryGroup, from memory.
  case groupTable
  /// VMTP's managers: probes, answered by the kernel itself.
  case kernelManager

  public var sendsTo: [Party] {
    switch self {
    case .program:
      [
        .directory, .fileServer, .pipeServer, .groupBoard, .teamServer, .node, .nameHandler,
        .kernelManager,
      ]
    case .mount:
      [.directory, .fileServer, .pipeServer, .groupBoard, .teamServer, .node, .nameHandler]
    case .groupBoard: [.directory, .teamServer, .groupTable, .node, .nameHandler, .kernelManager]
    case .groupMembership: [.groupTable, .kernelManager]
    case .fileServer, .pipeServer: [.directory, .kernelManager]
    case .teamServer: [.directory, .groupMembership, .kernelManager]
    case .directory: [.nameHandler, .kernelManager]
    case .node: [.directory, .nameHandler, .kernelManager]
    case .nameHandler, .groupTable, .kernelManager: []
    }
  }
}
