/// The order in which parties Send to each other: the whole proof that waiting for messages cannot
/// deadlock.
///
/// A party waits only for the answers of those below it, and there is no way back up; a test
/// checks that. Each Send of a server names both parties, and one that is not in this table stops
/// the process: see `PartySend`. Replies, forwards and datagrams are nobody's wait, so they may go
/// anywhere. What a server sends to may be on its own host or on another.
public enum Party: String, CaseIterable, Sendable {
  /// A program or a tool: `v`, an attached process.
  case program
  /// VMount, for the programs that use `/v`.
  case mount
  /// A program that starts a server at the first use of its prefix.
  case standIn
  case fileServer
  case pipeServer
  /// Any server: it claims its prefixes and asks whether its clients live.
  case server
  /// The group server: what is done by its names, and by messages to groups.
  case groupServer
  /// The same server as a member of a group: it hands a message on to the program that is meant.
  case groupMember
  /// The same server, where a program's own manager has it join or leave: it asks no team server.
  case groupMembership
  case teamServer
  case directory
  /// The kernel servers: state of a node, time, devices.
  case node
  /// What a server answers at once from memory: QueryName, QueryGroup, QueryTeam, FindNode,
  /// ListInstances.
  case memory
  /// Whatever somebody has a node measure: each of those waits has an end.
  case measured
  /// VMTP's managers: probes, answered by the kernel itself.
  case kernelManager

  public var sendsTo: [Party] {
    switch self {
    case .program, .mount:
      [
        .directory, .fileServer, .pipeServer, .server, .groupServer, .teamServer, .node, .memory,
        .kernelManager,
      ]
    case .standIn: [.directory]
    case .fileServer, .pipeServer, .server: [.directory, .kernelManager]
    case .groupServer:
      [
        .directory, .teamServer, .groupMember, .groupMembership, .node, .memory, .kernelManager,
      ]
    case .groupMember: [.teamServer]
    case .groupMembership: [.memory]
    case .teamServer: [.directory, .groupMembership, .memory, .kernelManager]
    case .directory: [.memory, .kernelManager]
    case .node: [.directory, .memory, .measured, .kernelManager]
    case .memory, .measured, .kernelManager: []
    }
  }

  /// Nobody waits for it, so it may wait for anybody.
  package var isOutermost: Bool { self == .program || self == .mount }
}

/// A Send of one party to another, which the table allows.
public struct PartySend: Sendable {
  /// Stops the process where the table has no such Send: it might wait for itself.
  public init(_ party: Party, to other: Party) {
    precondition(party.sendsTo.contains(other), "\(party) must not wait for \(other)")
  }
}
