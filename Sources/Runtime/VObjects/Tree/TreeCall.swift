import Synchronization
public import VProtocol
import VRuntime

/// A read, a write or a question whether there is any use in one, which waits for its answer: of
/// the session, or of a signal that ends it.
public final class TreeCall: Sendable {
  private struct State: Sendable {
    var isAnswered = false
    var isCancelled = false
    var cancel: (@Sendable () -> Void)?
  }

  public let caller: Caller
  /// Data are written to the end, whatever the position is.
  public let isAppending: Bool
  private let able: Readiness
  private let request: Request
  private let server: ObjectServer<TreeContent>
  private let state = Mutex(State())

  /// Adds the request to the waits of its server until it is answered.
  init(
    _ request: Request, _ instance: Instance<TreeContent>, _ server: ObjectServer<TreeContent>
  ) throws(Refusal) {
    self.request = request
    caller = instance.caller
    isAppending = instance.mode.contains(.append)
    able = instance.able
    self.server = server
    try server.wait(request, in: instance) { [self] in cancel($0) }
  }

  /// Answers a read, of a stream that counts its octets with where they are; false if it has ended,
  /// and then nobody has the octets.
  @discardableResult
  public func answer(data: [UInt8], at position: UInt64 = 0) -> Bool {
    end(ReadInstance.Answer(data: data, position: position).message)
  }

  /// Answers a write with the number of octets taken; false if it was ended before.
  @discardableResult
  public func answer(count: Int) -> Bool {
    end(WriteInstance.Answer(count: count, size: 0).message)
  }

  /// Answers what can be done, as far as the instance was opened for it; false if it has ended.
  @discardableResult
  public func answer(ready: Readiness) -> Bool {
    end(AwaitInstance.Answer(ready: ready.limited(to: able)).message)
  }

  /// False if it has ended.
  @discardableResult
  public func refuse(_ refusal: Refusal) -> Bool { end(refusal.message) }

  /// Calls `body` if the call is ended from outside the session: once, perhaps at once.
  public func whenCancelled(_ body: @escaping @Sendable () -> Void) {
    let isLate = state.withLock { state in
      if !state.isAnswered { state.cancel = body }
      return state.isCancelled
    }
    if isLate { body() }
  }

  /// Ends it from outside the session.
  private func cancel(_ code: ReplyCode) {
    let isFirst = state.withLock { state in
      guard !state.isAnswered else { return false }
      state.isAnswered = true
      state.isCancelled = true
      return true
    }
    guard isFirst else { return }
    state.withLock { $0.cancel.take() }?()
    server.backplane.refuse(code, request)
  }

  private func end(_ message: Message) -> Bool {
    let isFirst = state.withLock { state in
      defer { state.isAnswered = true }
      state.cancel = nil
      return !state.isAnswered
    }
    guard isFirst else { return false }
    server.waits.end(request)
    server.backplane.reply(message, to: request)
    return true
  }
}
