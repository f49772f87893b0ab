import Synchronization
public import VProtocol

/// Client entities of one process, kept by user and used for one transaction at a time.
///
/// There are as many entities as transactions under way; at most `entitiesMax` idle ones of a user
/// are kept. An entity whose transaction was abandoned is retired.
public final class ClientPool: Sendable {
  /// A transaction on an entity of a pool.
  ///
  /// Either its completion is called or it is abandoned.
  public final class Transaction: Sendable {
    fileprivate let client: EntityID
    private let isOver = Atomic<Bool>(false)

    fileprivate init(_ client: EntityID) { self.client = client }

    /// Ends the transaction; false if it was ended before.
    fileprivate func end() -> Bool {
      !isOver.exchange(true, ordering: .acquiringAndReleasing)
    }
  }

  private let backplane: any Backplane
  private let party: Party
  private let idle = Mutex<[ClientUser: [EntityID]]>([:])

  /// More idle entities of one user than this are retired: twice the requests in flight that
  /// FUSE allows by default.
  private static let entitiesMax = 128

  /// `party` is the sender in the order of Sends; a server names the receiver of each as `at`.
  public init(_ backplane: any Backplane, of party: Party = .program) {
    self.backplane = backplane
    self.party = party
  }

  /// Sends `operation` as `user`; the entity goes back to the pool with the answer.
  ///
  /// A server says to which party it sends, as the order of parties allows.
  @discardableResult
  public func send<Op: Operation>(
    _ operation: Op, as user: ClientUser, to server: EntityID, at other: Party? = nil,
    options: SendOptions = SendOptions(),
    takeDescriptor: (@Sendable (PassedDescriptor) -> Void)? = nil,
    completion: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) -> Transaction {
    if let other {
      _ = PartySend(party, to: other)
    } else {
      precondition(party.isOutermost, "\(party) must say to whom it sends")
    }
    precondition(!options.collectsResponses, "an entity goes back with its first response")
    let transaction = Transaction(take(user))
    backplane.send(
      operation, from: transaction.client, to: server, options: options,
      takeDescriptor: takeDescriptor
    ) { [self] answer in
      guard transaction.end() else { return }
      give(transaction.client, of: user)
      completion(answer)
    }
    return transaction
  }

  /// Abandons a transaction: its completion is not called any more.
  ///
  /// Has no effect if the answer came first.
  public func abandon(_ transaction: Transaction) {
    if transaction.end() { backplane.retire(transaction.client) }
  }

  /// An entity of `user` for a transaction that its sender controls; the sender gives it back.
  public func take(_ user: ClientUser) -> EntityID {
    idle.withLock { $0[user]?.popLast() } ?? backplane.makeClient(user)
  }

  public func give(_ client: EntityID, of user: ClientUser, isUseless: Bool = false) {
    let isKept = idle.withLock { idle in
      guard !isUseless, idle[user, default: []].count < Self.entitiesMax else { return false }
      idle[user, default: []].append(client)
      return true
    }
    if !isKept { backplane.retire(client) }
  }
}
