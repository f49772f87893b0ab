import Synchronization
public import VProtocol
public import VRuntime

/// A server that receives its requests one at a time, as V's processes do; clients cannot tell it
/// from a procedure.
///
/// `receive` asks for the next message: it is delivered at once if one is queued, else when one
/// arrives. Of several the most urgent is next, as `PriorityQueue` has it. A conditional request
/// (CMD) is answered with `notAwaitingMessage` unless the process is waiting to receive at that
/// moment.
public final class MessageProcess: Sendable {
  private struct State: Sendable {
    var queue = PriorityQueue<Request>()
    var receiver: Procedure?
  }

  /// State that the procedure uses before the process exists.
  private final class Box: Sendable {
    let value = Mutex(State())
  }

  public let entity: EntityID
  private let state: Box

  /// Messages that wait for one process; beyond it clients are answered BUSY.
  public static let queueMax = 1024

  public init(_ backplane: any Backplane, knowsPrincipals: Bool = true) {
    let box = Box()
    state = box
    entity = backplane.makeServer(knowsPrincipals: knowsPrincipals) { [weak backplane] request in
      if let code = Self.deliver(request, to: box) { backplane?.refuse(code, request) }
    }
  }

  /// Receives the next message; a second call before it arrives replaces the first one.
  public func receive(_ body: @escaping Procedure) {
    let next: Request? = state.value.withLock { state in
      if state.queue.isEmpty { state.receiver = body }
      return state.queue.next()
    }
    if let next { body(next) }
  }

  /// Delivers a message or queues it, or returns the reason why not.
  private static func deliver(_ request: Request, to box: Box) -> ReplyCode? {
    let isConditional = request.message.mcb.flags.contains(.conditional)
    let (receiver, refusal): (Procedure?, ReplyCode?) = box.value.withLock { state in
      if let receiver = state.receiver.take() { return (receiver, nil) }
      if isConditional { return (nil, .notAwaitingMessage) }
      guard state.queue.count < queueMax else { return (nil, .busy) }
      state.queue.add(request, request.priority)
      return (nil, nil)
    }
    receiver?(request)
    return refusal
  }
}
