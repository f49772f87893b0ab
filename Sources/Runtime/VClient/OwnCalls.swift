internal import Synchronization
public import VProtocol
public import VRuntime

/// Calls of a program that is written for V: nobody but the program ends them.
///
/// A mount, whose programs get signals, has a `Caller` of its own.
extension Client {
  /// Starts a call of `user`; what it comes to goes to `then`, once.
  ///
  /// After `limit` that is `userTimeout`, and waits at managers are ended. A value that comes later
  /// is given to `undo`.
  public func start<Value: Sendable>(
    as user: ClientUser, limit: TimeSpan? = nil, undo: (@Sendable (Value) -> Void)? = nil,
    _ body: (Call, @escaping @Sendable (Answer<Value>) -> Void) -> Void,
    then: @escaping @Sendable (Answer<Value>) -> Void
  ) {
    let program = OwnCaller(user, then)
    let call = Call(self, by: program)
    if let limit { backplane.after(limit) { call.timeOut() } }
    body(call) { answer in
      guard !program.take(answer), case .done(let value, _) = answer else { return }
      undo?(value)
    }
  }

  /// What a call comes to; `user` is who makes it.
  ///
  /// Errors are a `Refusal`: a code, and words where the manager had some.
  public func call<Value: Sendable>(
    as user: ClientUser, limit: TimeSpan? = nil, undo: (@Sendable (Value) -> Void)? = nil,
    _ body: (Call, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  ) async throws(Refusal) -> Value {
    let answer = await withCheckedContinuation { continuation in
      start(as: user, limit: limit, undo: undo, body) { continuation.resume(returning: $0) }
    }
    switch answer {
    case .done(let value, _): return value
    case .refused(let refusal): throw refusal
    }
  }
}

/// Who waits for one call, until its answer or the end of its time.
private final class OwnCaller<Value: Sendable>: Caller {
  private let user: ClientUser
  private let then: Mutex<(@Sendable (Answer<Value>) -> Void)?>

  init(_ user: ClientUser, _ then: @escaping @Sendable (Answer<Value>) -> Void) {
    self.user = user
    self.then = Mutex(then)
  }

  func user(asking isStore: Bool) -> ClientUser { user }
  func beginWaiting(_ call: Call) -> Bool { isWaiting }
  func giveUp() -> Bool { take(.refused(.userTimeout)) }
  var isWaiting: Bool { then.withLock { $0 != nil } }

  /// Whether this is the first answer.
  func take(_ answer: Answer<Value>) -> Bool {
    guard let then = then.withLock({ $0.take() }) else { return false }
    then(answer)
    return true
  }
}
