import Synchronization
public import VProtocol

/// A server that receives its requests one at a time and works on them in turn, as V's processes
/// do; clients cannot tell it from a procedure.
///
/// `receive` asks for the next message: it is handed over at once if one is queued, else when
/// one comes. A conditional request (CMD) is answered with `notAwaitingMessage` unless somebody
/// is waiting to receive at that moment.
public final class MessageProcess: Sendable {
  private struct State: Sendable {
    var queue: [Request] = []
    var receiver: Procedure?
  }

  public let entity: EntityID
  private let backplane: any Backplane
  private let state: Box

  /// Messages that wait for one process; beyond it clients are told BUSY.
  public static let queueMax = 1024

  /// State that the server procedure reaches before the process exists.
  private final class Box: Sendable {
    let value = Mutex(State())
  }

  public init(_ backplane: any Backplane, knowsPrincipals: Bool = true) {
    self.backplane = backplane
    let box = Box()
    state = box
    entity = backplane.makeServer(knowsPrincipals: knowsPrincipals) { [weak backplane] request in
      guard let backplane else { return }
      Self.deliver(request, to: box, on: backplane)
    }
  }

  /// Receives the next message; a second call before it comes takes the first one's place.
  public func receive(_ body: @escaping Procedure) {
    let next: Request? = state.value.withLock { state in
      guard !state.queue.isEmpty else {
        state.receiver = body
        return nil
      }
      return state.queue.removeFirst()
    }
    if let next { body(next) }
  }

  private static func deliver(_ request: Request, to box: Box, on backplane: any Backplane) {
    enum Outcome {
      case hand(Procedure)
      case queued
      case refused(ReplyCode)
    }
    let isConditional = request.message.mcb.flags.contains(.conditional)
    let outcome: Outcome = box.value.withLock { state in
      if let receiver = state.receiver.take() { return .hand(receiver) }
      if isConditional { return .refused(.notAwaitingMessage) }
      guard state.queue.count < queueMax else { return .refused(.busy) }
      state.queue.append(request)
      return .queued
    }
    switch outcome {
    case .hand(let receiver): receiver(request)
    case .refused(let code): backplane.refuse(code, request)
    case .queued: break
    }
  }
}
