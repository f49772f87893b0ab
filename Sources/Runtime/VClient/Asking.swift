public import VProtocol
public import VRuntime

/// Operations on a known or an open object, which is found again when its manager no longer knows
/// it.
///
/// A manager drops contexts from its bounded table (`invalidContext`), and loses all contexts and
/// instances when it is restarted (`nonexistentEntity`). The object is then looked up by its full
/// name, and used if it is the same object; if the name now has another object, or none, the answer
/// is `invalidFileID` (ESTALE). The operation is sent at most twice. If it must not be done twice,
/// it is not sent again where the old manager may have done it: its outcome is then reported as
/// unknown (`deviceError`).
extension Call {
  /// Sends the operation that `make` makes for an object, for a name below it, or for two objects
  /// of one manager.
  ///
  /// It is refused here with `invalidFileID` for an unknown object, `noServerResources` for one
  /// without a context, `differentManager` for two objects of different managers, and
  /// `nameTooLong`.
  public func ask<Op: Operation>(
    about id: ObjectID, _ name: [UInt8] = [], and other: ObjectID? = nil,
    mayRepeat: Bool = Op.isIdempotent,
    _ make: @escaping @Sendable (Client.Target) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    ask(
      about: id, name, and: other, mayRepeat: mayRepeat, mustEnd: false, undo: nil, make,
      then: then)
  }

  /// The same, for an operation whose effect may have to be undone, or that may wait; see `send`.
  func ask<Op: Operation>(
    about id: ObjectID, _ name: [UInt8] = [], and other: ObjectID? = nil, mayRepeat: Bool,
    mustEnd: Bool, undo: (@Sendable () -> Void)?, isAgain: Bool = false,
    _ make: @escaping @Sendable (Client.Target) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    let target: Client.Target
    switch client.target(id, name, and: other) {
    case .failure(let impossible): return then(.refused(impossible.code))
    case .success(let known): target = known
    }
    send(make(target), to: target.manager, mustEnd: mustEnd, undo: undo) { [self] answer in
      guard !isAgain, case .refused(let refusal) = answer else { return then(answer) }
      let code = refusal.code
      client.noteAbsence(of: target.manager, code)
      guard Client.asksForRebinding(code) else { return then(answer) }
      client.rebind(id, and: other, refused: target, code, as: user) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Client.wasRefused(code) else { return then(.refused(.deviceError)) }
        ask(
          about: id, name, and: other, mayRepeat: mayRepeat, mustEnd: mustEnd, undo: undo,
          isAgain: true, make, then: then)
      }
    }
  }

  /// Sends the operation that `make` makes for the instance of an open object, as the user who
  /// opened it.
  ///
  /// `notReadable` if nothing is open by this number.
  public func use<Op: Operation>(
    _ id: OpenID, mayRepeat: Bool = Op.isIdempotent,
    _ make: @escaping @Sendable (InstanceID) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    use(id, mayRepeat: mayRepeat, mustEnd: false, undo: nil, make, then: then)
  }

  /// The same, for an operation whose effect may have to be undone, or that may wait; see `send`.
  func use<Op: Operation>(
    _ id: OpenID, mayRepeat: Bool = Op.isIdempotent, mustEnd: Bool,
    undo: (@Sendable () -> Void)?, isAgain: Bool = false,
    _ make: @escaping @Sendable (InstanceID) -> Op,
    then: @escaping @Sendable (Answer<Op.Answer>) -> Void
  ) {
    guard let open = client.opens[id] else { return then(.refused(.notReadable)) }
    guard !open.isBroken else { return then(.refused(.deviceError)) }
    send(
      make(open.instance), to: open.manager, as: open.user, mustEnd: mustEnd, undo: undo
    ) { [self] answer in
      guard !isAgain, case .refused(let refusal) = answer else { return then(answer) }
      let code = refusal.code
      client.noteAbsence(of: open.manager, code)
      // The unread data of a stream are lost with its instance, whatever was done.
      guard open.undo == nil, code == .invalidFileID || Client.asksForRebinding(code) else {
        return then(code == .outcomeUnknown ? .refused(.nonexistentEntity) : answer)
      }
      client.reopen(id, lost: open) { [self] outcome in
        guard outcome.isOK else { return then(.refused(outcome)) }
        guard mayRepeat || Client.wasRefused(code) else { return then(.refused(.deviceError)) }
        use(
          id, mayRepeat: mayRepeat, mustEnd: mustEnd, undo: undo, isAgain: true, make, then: then)
      }
    }
  }
}

extension Client {
  /// A manager that is silent, or does not know its contexts, may have lost its prefix to another
  /// one: the next use of the prefix asks again.
  func noteAbsence(of manager: EntityID, _ code: ReplyCode) {
    if Self.asksForRebinding(code) { names.forget(manager) }
  }

  static func asksForRebinding(_ code: ReplyCode) -> Bool {
    // A silent manager may be up again somewhere else, as another entity.
    [.invalidContext, .nonexistentEntity, .outcomeUnknown, .retransmissionTimeout].contains(code)
  }

  /// Whether the operation was certainly not done.
  fileprivate static func wasRefused(_ code: ReplyCode) -> Bool {
    code == .invalidContext || code == .invalidFileID || code == .nonexistentEntity
  }
}
