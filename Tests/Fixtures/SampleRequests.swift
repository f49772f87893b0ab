public import VProtocol

/// The objects of sample requests: a test sets those that it has made; the defaults do not exist.
public struct RequestTargets: Sendable {
  /// The object, for operations on a name.
  public var name = ContextName(.none, Array("sample".utf8))
  /// The second name, for RenameObject and LinkName.
  public var newName = ContextName(.none, Array("sample.new".utf8))
  /// A context of the object, for LinkName.
  public var object = ContextID(rawValue: 1)
  public var instance = InstanceID(rawValue: 1)
  /// A process or a program.
  public var process = EntityID(kernel: KernelID(1), discriminator: 17)
  /// A client that waits, or that is an owner.
  public var client = EntityID(kernel: KernelID(1), discriminator: 18)
  /// A manager that claims or answers.
  public var manager = EntityID(kernel: KernelID(1), discriminator: 19)
  public var host = "kea"
  public var group: Name = "jobs"
  public var user = "ann"
  /// How an instance is opened.
  public var mode: OpenMode = .read

  public init() {}

  /// A well-formed request of each operation of the table, by its code; nil for other codes.
  public func message(_ code: UInt32) -> Message? {
    if let operation = operation(code) { return operation.message }
    let client = NotifyClient(
      client: client, transaction: TransactionID(1), delivery: [], code: .retry,
      retransmitCount: 1)
    switch code {
    case Management.notifyClient: return Message(client.mcb)
    case Management.notifyRemoteClient: return Message(client.remoteMCB)
    case Management.notifyServer:
      let server = NotifyServer(
        server: manager, client: self.client, transaction: TransactionID(1), delivery: [],
        code: .retry)
      return Message(server.mcb)
    case Management.beginTransaction:
      let state = ProbeEntity.EntityState(
        transaction: TransactionID(1), entity: self.client, isAwaitingResponse: true,
        principal: "\(user)@\(host)")
      return BeginTransaction(state).message
    case Management.queryOutcome:
      return Message(QueryOutcome(client: self.client, transaction: TransactionID(1)).mcb)
    default: return nil
    }
  }

  /// The same as a value, for all but notifications.
  public func operation(_ code: UInt32) -> (any Operation)? {
    named(code) ?? withInstance(code) ?? ofServers(code)
  }

  private func named(_ code: UInt32) -> (any Operation)? {
    var modification = Modification()
    modification.permissions = 0o600
    let attribute = Array("user.sample".utf8)
    return switch code {
    case QueryName.code: QueryName(name)
    case QueryObject.code: QueryObject(name)
    case ModifyObject.code: ModifyObject(name, modification)
    case AddName.code: AddName(newName, kind: .context, permissions: 0o700)
    case LinkName.code: LinkName(newName, object: object)
    case RemoveName.code: RemoveName(name, isContext: false)
    case RenameObject.code:
      RenameObject(name, to: newName.context, newName.name, mode: .replace)
    case ReadLink.code: ReadLink(name)
    case CheckAccess.code: CheckAccess(name, mask: 4)
    case QueryStore.code: QueryStore(name)
    case ClaimName.code:
      ClaimName(prefix: name.name, context: object, manager: manager, yields: true)
    case ForgetName.code: ForgetName(prefix: name.name, manager: manager)
    case SpreadClaims.code:
      SpreadClaims(
        [
          Claim(
            prefix: name.name, manager: manager, context: object, host: host, clock: 1,
            state: .present)
        ], wantsAnswer: false)
    case SpreadDigest.code: SpreadDigest(manager, ClaimDigest(), [])
    case QueryClaims.code: QueryClaims(.max)
    case QueryAttribute.code: QueryAttribute(name, attribute: attribute)
    case ListAttributes.code: ListAttributes(name)
    case ChangeAttribute.code: ChangeAttribute(name, attribute: attribute, .set([1]))
    case CreateInstance.code: CreateInstance(name, mode: mode, permissions: 0o600)
    default: nil
    }
  }

  private func withInstance(_ code: UInt32) -> (any Operation)? {
    var modification = Modification()
    modification.permissions = 0o600
    let lock = ObjectLock(.shared, isWhole: false, owner: 1, range: 0...0, process: 0)
    return switch code {
    case QueryInstance.code: QueryInstance(instance)
    case ModifyInstance.code: ModifyInstance(instance, modification)
    case ReadInstance.code: ReadInstance(instance, position: 0, count: 512)
    case WriteInstance.code: WriteInstance(instance, position: 0, data: [0x61])
    case ReleaseInstance.code: ReleaseInstance(instance)
    case SyncInstance.code: SyncInstance(instance, isDataOnly: false)
    case LockInstance.code: LockInstance(instance, lock, .atOnce)
    case QueryLock.code: QueryLock(instance, lock)
    case CancelWait.code: CancelWait(client)
    case ListInstances.code: ListInstances(from: 0)
    case ChangeOwner.code: ChangeOwner(instance, to: client)
    case AwaitInstance.code: AwaitInstance(instance, for: .readable, isWaiting: false)
    default: nil
    }
  }

  private func ofServers(_ code: UInt32) -> (any Operation)? {
    switch code {
    case ProbeEntity.code: return ProbeEntity(process)
    case PingNode.code: return PingNode()
    case FindNode.code: return FindNode(host: host)
    case QueryNode.code: return QueryNode()
    case MeasureSends.code:
      return MeasureSends(target: .host(host), count: 1, limitMilliseconds: 100)
    case EchoSegment.code: return EchoSegment(answerBytes: 1, data: [1])
    case GetTime.code: return GetTime()
    case DelayProcess.code: return DelayProcess(.milliseconds(1))
    case WakeUp.code: return WakeUp(process)
    case QueryProcess.code: return QueryProcess(process)
    case SelectHost.code: return SelectHost(.foreground)
    case ControlTeam.code: return ControlTeam(process, "suspend")
    case QueryTeam.code: return QueryTeam(process)
    case GroupMessage.code: return GroupMessage(sender: "\(user)@\(host)", text: "hello")
    case QueryGroup.code: return QueryGroup(group)
    case ChangeGroup.code:
      var change = ChangeGroup(.join, group, host: host)
      change.member = Name("\(host):\(user)")
      return change
    default: return nil
    }
  }
}
