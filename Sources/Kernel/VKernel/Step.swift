public import VProtocol
public import VTransport

/// Actions that the kernel wants carried out, outside its lock.
public enum Action: Sendable {
  /// Send packets.
  case transmit(Transmission)
  /// Invoke the procedure of a server.
  case invoke(Request)
  /// The transaction of a client has ended: with a response, or with a code and no server.
  case complete(client: EntityID, server: EntityID, Message)
  /// One of several responses to a client that wants all; its transaction goes on.
  case respond(client: EntityID, TransactionID, server: EntityID, Message)
  /// Another kernel has this host's name from now on, or, with nil, this one has it again.
  case nameHolderChanged(NameHolder?)
}

/// The input and the output of one entry to the kernel: the time, and actions in order.
///
/// Owned and reused by the caller, who may enter again before all actions are taken.
public struct Step: ~Copyable {
  /// Set before each entry.
  public var now = Time(nanoseconds: 0)
  private var list: [Action] = []
  private var next = 0

  public init() { list.reserveCapacity(64) }

  public var isEmpty: Bool { next == list.count }
  /// Those that were not taken yet.
  package var actions: ArraySlice<Action> { list[next...] }

  mutating func append(_ action: Action) { list.append(action) }

  /// The oldest action not yet taken.
  public mutating func popFirst() -> Action? {
    guard next < list.count else {
      list.removeAll(keepingCapacity: true)
      next = 0
      return nil
    }
    let action = list[next]
    next += 1
    // So an endless chain of messages does not let the list grow without end.
    if next >= 64 && next * 2 >= list.count {
      list.removeFirst(next)
      next = 0
    }
    return action
  }
}
