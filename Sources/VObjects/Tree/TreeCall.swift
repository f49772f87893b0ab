import Synchronization
import VProtocol
import VRuntime

/// A read or a write that waits for its answer: of the session, or of a signal that ends it.
public final class TreeCall: Sendable {
  private struct State: Sendable {
    var isAnswered = false
    var isCancelled = false
    var cancel: (@Sendable () -> Void)?
  }

  public let caller: TreeCaller
  /// What is written goes to the end, whatever its position says.
  public let isAppending: Bool
  let request: Request
  private let backplane: any Backplane
  private let ended: @Sendable (TreeCall) -> Void
  private let state = Mutex(State())

  init(
    _ request: Request, _ instance: TreeInstance, _ backplane: any Backplane,
    _ ended: @escaping @Sendable (TreeCall) -> Void
  ) {
    self.request = request
    caller = instance.caller
    isAppending = instance.mode.contains(.append)
    self.backplane = backplane
    self.ended = ended
  }

  /// Answers a read; false if it has ended, and then nobody has the octets.
  @discardableResult
  public func answer(data: [UInt8]) -> Bool {
    end(ReadInstance.Answer(data: data).message)
  }

  /// Answers a write: so many octets were taken; false if it has ended.
  @discardableResult
  public func answer(count: Int) -> Bool {
    end(WriteInstance.Answer(count: count, size: 0).message)
  }

  /// False if it has ended.
  @discardableResult
  public func refuse(_ refusal: Refusal) -> Bool { end(Message(refusal)) }

  /// Calls `body` if the call is ended by somebody else than the session: once, perhaps at once.
  public func whenCancelled(_ body: @escaping @Sendable () -> Void) {
    let isLate = state.withLock { state in
      if !state.isAnswered { state.cancel = body }
      return state.isCancelled
    }
    if isLate { body() }
  }

  /// Ends it in the place of the session.
  func cancel(_ code: ReplyCode) {
    let isFirst = state.withLock { state in
      guard !state.isAnswered else { return false }
      state.isAnswered = true
      state.isCancelled = true
      return true
    }
    guard isFirst else { return }
    state.withLock { $0.cancel.take() }?()
    backplane.refuse(code, request)
    ended(self)
  }

  private func end(_ message: Message) -> Bool {
    let isFirst = state.withLock { state in
      defer { state.isAnswered = true }
      state.cancel = nil
      return !state.isAnswered
    }
    guard isFirst else { return false }
    backplane.reply(message, to: request)
    ended(self)
    return true
  }
}

extension Message {
  /// A refusal as a reply: the words are its segment.
  init(_ refusal: Refusal) {
    self.init(
      Message(reply: refusal.code).mcb,
      segment: Array(refusal.words.utf8.prefix(Refusal.wordsBytesMax)))
  }
}
