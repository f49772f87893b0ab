public import VProtocol
public import VRuntime

/// One operation between a node and a process attached to it: one packet of the local socket.
///
/// ```
/// process                            node
///    |  <---------------- welcome ----|     once, at the start
///    |-- makeClient, makeServer, join |     a token pairs question and answer
///    |  <---------- made or refused --|
///    |-- send ----------------------> |     one at a time for each client
///    |  <--------------- complete ----|     several times where all responses are wanted
///    |-- datagram ------------------> |
///    |  <----------------- invoke ----|     a request for a server of the process
///    |-- reply or forward ----------> |
///    |-- retire --------------------> |
/// ```
/// The socket keeps the frames whole and in order. Entities belong to the process that made them
/// and end with it.
public enum AttachFrame: Sendable {
  case makeClient(token: UInt32, ClientUser)
  case makeServer(token: UInt32, knowsPrincipals: Bool)
  case join(token: UInt32, server: EntityID, group: EntityID)
  case retire(EntityID)
  case send(Message, client: EntityID, server: EntityID, SendOptions)
  case datagram(Message, client: EntityID, server: EntityID)
  case reply(Message, to: RequestName)
  case forward(Message, RequestName, to: EntityID)

  /// The node's kernel, and the principal of the process.
  case welcome(KernelID, Principal)
  /// The new entity; after `join` the server that joined.
  case made(token: UInt32, EntityID)
  case refused(token: UInt32, ReplyCode)
  /// A response without a server ends a transaction that wants all responses.
  case complete(client: EntityID, Response)
  case invoke(Request)

  /// Identifies one request among all others.
  public struct RequestName: Hashable, Sendable {
    public var client: EntityID
    public var transaction: TransactionID
    public var server: EntityID
    public var forwardCount: UInt8

    public init(
      client: EntityID, transaction: TransactionID, server: EntityID, forwardCount: UInt8
    ) {
      self.client = client
      self.transaction = transaction
      self.server = server
      self.forwardCount = forwardCount
    }

    public init(_ request: Request) {
      self.init(
        client: request.client, transaction: request.transaction, server: request.server,
        forwardCount: request.forwardCount)
    }
  }

  /// One year: a longer limit is no limit, and sums of times cannot overflow.
  public static let timeLimitMax = TimeSpan.seconds(366 * 86_400)
  /// The default socket of a node.
  public static let socketPath = "/run/v/node.sock"
}
