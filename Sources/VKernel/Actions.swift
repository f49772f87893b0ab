public import VProtocol
public import VTransport

/// One request handed to a local server.
public struct Delivery: Sendable {
  public var client: EntityID
  public var transaction: TransactionID
  public var forwardCount: UInt8
  /// The entity or group that the client named.
  public var addressee: EntityID
  /// The local server that is to work on it.
  public var server: EntityID
  public var message: Message
  /// `user@host` of the client, where the server wants to know.
  public var principal: String?

  public init(
    client: EntityID, transaction: TransactionID, forwardCount: UInt8, addressee: EntityID,
    server: EntityID, message: Message, principal: String?
  ) {
    self.client = client
    self.transaction = transaction
    self.forwardCount = forwardCount
    self.addressee = addressee
    self.server = server
    self.message = message
    self.principal = principal
  }
}

/// What the kernel wants done, outside its lock.
public enum Action: Sendable {
  /// Send packets.
  case transmit(Transmission)
  /// Invoke the procedure of a server.
  case invoke(Delivery)
  /// The transaction of a client has ended: with a response, or with a code and no server.
  case complete(client: EntityID, server: EntityID, Message)
  /// One of several responses to a client that wants all; its transaction goes on.
  case respond(client: EntityID, server: EntityID, Message)
}

/// The actions of one or more entries to the kernel, in order; owned and reused by the caller.
public struct Actions: ~Copyable {
  private var list: [Action] = []
  private var next = 0

  public init() { list.reserveCapacity(64) }

  public var isEmpty: Bool { next == list.count }

  public mutating func append(_ action: Action) { list.append(action) }

  /// The oldest action not yet taken.
  public mutating func popFirst() -> Action? {
    guard next < list.count else {
      list.removeAll(keepingCapacity: true)
      next = 0
      return nil
    }
    defer { next += 1 }
    return list[next]
  }
}
