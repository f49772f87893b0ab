public import VProtocol

/// An object that is more than a text: it implements opening, reading and writing, and may make a
/// reader or writer wait.
public protocol TreeFile: Sendable {
  var access: TreeAccess { get }
  /// The attributes of its instances; if a read or write may wait for others, `stream` is needed,
  /// so that Linux signals end it.
  var attributes: UIOAttributes { get }
  /// Octets; 0 for an endless file.
  var size: UInt64 { get }
  /// Opens it for a caller who has the rights, then calls `opened` once.
  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened)
  /// Changes it for a caller who has the right to write.
  func modify(_ modification: Modification, _ caller: Caller) -> Refusal?
}

extension TreeFile {
  public func modify(_ modification: Modification, _ caller: Caller) -> Refusal? {
    modification.isHarmless ? nil : Refusal(.notOwner)
  }
}

extension Modification {
  /// Programs do this around writing: cutting to a size and setting times is accepted.
  var isHarmless: Bool { permissions == nil && owner == nil && group == nil }
}

/// Gets the opened session, or the refusal.
public typealias TreeOpened = @Sendable (Result<any TreeSession, Refusal>) -> Void

/// How and by whom a file is opened.
public struct TreeOpening: Sendable {
  public var mode: OpenMode
  public var caller: Caller
}

/// One instance of a file.
public protocol TreeSession: AnyObject, Sendable {
  /// Answers with `call.answer(data:)`, now or later; no octets are the end.
  func read(_ count: Int, at position: UInt64, _ call: TreeCall)
  /// Answers with `call.answer(count:)`, now or later.
  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall)
  /// Tells, soon, what can be done without waiting for others: everything, unless a session says
  /// something else.
  func look(_ done: @escaping @Sendable (Readiness) -> Void)
  /// Answers with `call.answer(ready:)` as soon as that `meets` what is wanted; always at once,
  /// unless a session says something else.
  func wait(for wanted: Readiness, _ call: TreeCall)
  /// The instance has ended; all of its calls have been answered.
  func close()
  /// The same, when its owner's host was silent for long: the owner may live, and come back.
  func lose()
}

extension TreeSession {
  public func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    call.refuse(Refusal(.notReadable))
  }
  public func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    call.refuse(Refusal(.notWriteable))
  }
  public func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    done([.readable, .writeable])
  }
  public func wait(for wanted: Readiness, _ call: TreeCall) {
    look { call.answer(ready: $0) }
  }
  public func close() {}
  public func lose() { close() }
}
