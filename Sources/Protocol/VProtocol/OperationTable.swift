/// Every operation of V, and who may use it.
///
/// Tests check every server against the table, and tools take names from it. An operation that is
/// not here is not one of V's.
public enum OperationTable {
  /// Who may use an operation.
  ///
  /// The first two cases are the rule. Each of the others is an exception, and has its reason.
  public enum Access: Hashable, Sendable {
    /// The whole principal that opened the instance, its marks included.
    ///
    /// No other principal may, not even root of the host: root has the names.
    case instance
    /// Any client with the rights that the operation needs, on the object and on each context of
    /// its path.
    case name
    case everybody(because: String)
    /// Any entity of the server's own kernel.
    case ownHost(because: String)
    /// Root of the server's own host with all of Linux's rights, and the servers of its node.
    case ownRoot(because: String)
    /// The clients that the operation's object determines.
    case only(String, because: String)
    /// Nodes themselves: their kernels, and the servers that every node has.
    case nodes(because: String)

    /// The sentence that the operation's page has.
    public var sentence: String {
      switch self {
      case .instance: "Access: the principal that the instance belongs to."
      case .name: "Access: rights on the object and on each context of its path."
      case .everybody(let reason): "Access: everybody, because \(reason)."
      case .ownHost(let reason): "Access: entities of the server's own host, because \(reason)."
      case .ownRoot(let reason): "Access: root of the server's own host, because \(reason)."
      case .only(let who, let reason): "Access: \(who), because \(reason)."
      case .nodes(let reason): "Access: nodes, because \(reason)."
      }
    }
  }

  public struct Entry: Sendable {
    public let name: String
    public let code: UInt32
    /// Doing it twice is the same as doing it once.
    public let isIdempotent: Bool
    public let access: Access
    /// Nil for notifications between kernels: they are no requests for a server.
    public let operation: (any Operation.Type)?

    init(_ operation: any Operation.Type, _ access: Access) {
      name = "\(operation)"
      code = operation.code
      isIdempotent = operation.isIdempotent
      self.operation = operation
      self.access = access
    }

    /// Notifications between kernels may arrive twice.
    init(notification name: String, _ code: UInt32, _ access: Access) {
      self.name = name
      self.code = code
      isIdempotent = true
      operation = nil
      self.access = access
    }
  }

  /// In the order of their codes.
  public static let entries: [Entry] =
    management + naming + instances + node + processes + teams + groups

  public static func entry(_ code: UInt32) -> Entry? { byCode[code] }

  private static let byCode = Dictionary(uniqueKeysWithValues: entries.map { ($0.code, $0) })

  private static let ofKernels = Access.nodes(
    because: "a kernel believes other kernels, which have the cluster key, and no process")

  private static let ofNodeServers = Access.nodes(
    because: "a response is for the user who waited for it, whom the client's host knows")

  private static let management: [Entry] = [
    Entry(
      ProbeEntity.self,
      .everybody(because: "whoever is asked something has to know who asks")),
    Entry(notification: "NotifyClient", Management.notifyClient, ofKernels),
    Entry(notification: "NotifyServer", Management.notifyServer, ofKernels),
    Entry(notification: "NotifyRemoteClient", Management.notifyRemoteClient, ofKernels),
    Entry(notification: "BeginTransaction", Management.beginTransaction, ofKernels),
    Entry(notification: "QueryOutcome", Management.queryOutcome, ofNodeServers),
  ]

  private static let naming: [Entry] = [
    Entry(
      QueryName.self,
      .everybody(because: "which manager has a prefix is no secret, and no name below it is told")),
    Entry(QueryObject.self, .name),
    Entry(ModifyObject.self, .name),
    Entry(AddName.self, .name),
    Entry(LinkName.self, .name),
    Entry(RemoveName.self, .name),
    Entry(RenameObject.self, .name),
    Entry(ReadLink.self, .name),
    Entry(CheckAccess.self, .name),
    Entry(QueryStore.self, .name),
    Entry(
      ClaimName.self,
      .ownRoot(because: "a claim leads the users of all hosts to its manager")),
    Entry(
      SpreadClaims.self,
      .nodes(because: "only the directories of the hosts speak for what is claimed there")),
    Entry(QueryAttribute.self, .name),
    Entry(ListAttributes.self, .name),
    Entry(ChangeAttribute.self, .name),
    Entry(
      ForgetName.self,
      .ownRoot(because: "a forgotten name is gone for the users of all hosts")),
    Entry(
      SpreadDigest.self,
      .nodes(because: "only the directories of the hosts speak for what they know")),
    Entry(
      QueryClaims.self,
      .everybody(because: "which hosts serve which prefixes is listed for everybody")),
  ]

  private static let instances: [Entry] = [
    Entry(CreateInstance.self, .name),
    Entry(QueryInstance.self, .instance),
    Entry(ModifyInstance.self, .instance),
    Entry(ReadInstance.self, .instance),
    Entry(WriteInstance.self, .instance),
    Entry(ReleaseInstance.self, .instance),
    Entry(SyncInstance.self, .instance),
    Entry(LockInstance.self, .instance),
    Entry(QueryLock.self, .instance),
    Entry(
      CancelWait.self,
      .only(
        "the principal that sent the request which waits",
        because: "nobody else may take an answer away from it")),
    Entry(
      ListInstances.self,
      .everybody(because: "the numbers of instances are shown to root of the host alone")),
    Entry(ChangeOwner.self, .instance),
    Entry(AwaitInstance.self, .instance),
  ]

  private static let node: [Entry] = [
    Entry(PingNode.self, .everybody(because: "nothing is done")),
    Entry(
      FindNode.self,
      .everybody(because: "the name and the clock of a host are known to its whole cluster")),
    Entry(
      QueryNode.self,
      .everybody(because: "how a node is may be seen in the whole cluster, and tells of no user")),
    Entry(
      MeasureSends.self,
      .ownHost(because: "it makes the node send, and the node's own users pay for that")),
    Entry(
      EchoSegment.self,
      .everybody(because: "zeros are no secret, and go to the client alone")),
  ]

  private static let processes: [Entry] = [
    Entry(GetTime.self, .everybody(because: "the time is no secret")),
    Entry(DelayProcess.self, .everybody(because: "a client delays nobody but itself")),
    Entry(
      WakeUp.self,
      .only(
        "the principal of the process, and root with all rights of its host and of the server's",
        because: "whoever waits goes on as if its time were over")),
    Entry(
      QueryProcess.self,
      .everybody(because: "which processes a host has is shown to all, as ps does")),
  ]

  private static let teams: [Entry] = [
    Entry(
      SelectHost.self,
      .everybody(because: "only a host that would run the client's programs answers")),
    Entry(
      ControlTeam.self,
      .only(
        "the program's user, the principal that started it, and root of its host",
        because: "a command does to the program whatever its user can do")),
    Entry(QueryTeam.self, .everybody(because: "which programs a host runs is listed for all")),
  ]

  private static let groups: [Entry] = [
    Entry(
      GroupMessage.self,
      .only(
        "whoever may pass the group and write to it, or may control the program that it is sent to",
        because: "a message is a command to programs and is read by people")),
    Entry(
      QueryGroup.self,
      .only(
        "whoever may pass the group, and the group servers of all hosts",
        because: "its members are its users' own affair")),
    Entry(
      ChangeGroup.self,
      .only(
        "to join, whoever may pass the group and write to it; to leave, the owners of the member "
          + "and of the group; to remove, the owner of the group; and root of the named host",
        because: "a member hears the group's messages and answers them")),
  ]
}
