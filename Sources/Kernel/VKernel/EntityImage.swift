public import VProtocol
import VTransport

/// An entity as it moves from one kernel to another: what a kernel knows of it, as a value.
public struct EntityImage: Sendable {
  public let entity: EntityID
  /// The kernel that it leaves.
  var source: KernelID
  var state: Entity
  var principal: Principal
  /// The records of its requests, as client of the kernel that it leaves, and as server.
  var records: [RecordKey: ServerTransaction]
  var takenAt: Time

  public var groups: [EntityID] { state.groups }
  /// The transaction in which it waits for a response.
  public var transaction: TransactionID? { state.current?.id }
}

/// A request that waits until its server goes on, here or elsewhere.
struct Undelivered: Sendable {
  var client: EntityID
  var transaction: TransactionID
  var isVouched: Bool
}

/// An entity that has been stopped here, to move to another kernel.
struct Frozen: Sendable {
  /// Local clients whose request it was not given, by its transaction, and whether nobody was.
  var undelivered: [Undelivered] = []
  /// Remote clients that wait for it.
  var asking: [RecordKey: TransactionID] = [:]
}
