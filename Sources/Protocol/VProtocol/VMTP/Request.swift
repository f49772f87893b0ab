/// What a server is given: one message of one client.
public struct Request: Sendable {
  public var client: EntityID
  public var transaction: TransactionID
  /// The entity or group that was addressed.
  public var addressee: EntityID
  /// The server, a member of the addressed group or the addressee itself.
  public var server: EntityID
  /// Times forwarded; part of the transaction's name.
  public var forwardCount: UInt8
  public var message: Message
  /// Who the client is: nil for a server, for a datagram's client on another host, and for each
  /// client there where the server did not ask to know it.
  public var principal: Principal?
  /// The client is on the server's own host, as its kernel saw the request arrive.
  public var isLocal: Bool

  public init(
    client: EntityID, transaction: TransactionID, addressee: EntityID, server: EntityID,
    forwardCount: UInt8, message: Message, principal: Principal?, isLocal: Bool
  ) {
    self.client = client
    self.transaction = transaction
    self.addressee = addressee
    self.server = server
    self.forwardCount = forwardCount
    self.message = message
    self.principal = principal
    self.isLocal = isLocal
  }
}
