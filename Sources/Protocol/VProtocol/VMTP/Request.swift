/// What a server receives: one message of one client.
public struct Request: Sendable {
  public var client: EntityID
  public var transaction: TransactionID
  /// The entity or group that was addressed.
  public var addressee: EntityID
  /// The server, a member of the addressed group or the addressee itself.
  public var server: EntityID
  /// Times forwarded; part of the transaction's identity.
  public var forwardCount: UInt8
  public var message: Message
  /// The client's principal: nil for a server, for a nested call of another host's client, and
  /// perhaps for a remote client of a server that did not ask for principals.
  public var principal: Principal?
  /// Whether the client is on the server's own host, as the kernel saw the request arrive.
  public var isLocal: Bool
  /// When it is served among others: the urgency that its client may have on this host.
  public var priority: Priority

  public init(
    client: EntityID, transaction: TransactionID, addressee: EntityID, server: EntityID,
    forwardCount: UInt8, message: Message, principal: Principal?, isLocal: Bool,
    priority: Priority = .normal
  ) {
    self.client = client
    self.transaction = transaction
    self.addressee = addressee
    self.server = server
    self.forwardCount = forwardCount
    self.message = message
    self.principal = principal
    self.isLocal = isLocal
    self.priority = priority
  }
}
